// SPDX-License-Identifier: MIT
// Signatures: PKCS#7 over the fs-verity digest, as `fsverity sign` makes them, against the module's own keyring.
#include <fcntl.h>

#include <cstring>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

const std::string required_switch = "/sys/module/llmos/parameters/signature_required";
constexpr uint64_t bytes = 5000;

std::vector<char> bytes_of(const std::string& path) {
  const std::string text = read_file(path);
  return {text.begin(), text.end()};
}

class Signature : public ModuleTest {
 protected:
  void SetUp() override {
    ModuleTest::SetUp();
    for (const char* program : {"openssl", "fsverity", "keyctl"}) {
      if (!have_program(program)) GTEST_SKIP() << "no " << program << " here";
    }
    must_shell("mkdir -p " + work);
    make_key("signer");
  }

  void TearDown() override {
    shell("keyctl clear " + keyring() + "; rm -r " + work);
    ModuleTest::TearDown();
  }

  static std::string keyring() { return std::to_string(query().keyring); }

  void make_key(const std::string& name) const {
    must_shell("cd " + work + " && openssl req -newkey rsa:2048 -nodes -x509 -days 30 -subj /CN=" + name + " -keyout " +
               name + ".key -out " + name + ".pem && openssl x509 -in " + name + ".pem -outform der -out " + name +
               ".der");
  }

  void trust(const std::string& name) const {
    must_shell("keyctl padd asymmetric " + name + " " + keyring() + " < " + work + "/" + name + ".der");
  }

  // Of a file full of the pattern, as any administrator would make it.
  std::vector<char> sign(const std::string& name, uint64_t seed = 0) const {
    const ScratchFile file("signed", bytes, seed);
    must_shell("cd " + work + " && fsverity sign " + file.path() + " out.sig --key " + name + ".key --cert " + name +
               ".pem");
    return bytes_of(work + "/out.sig");
  }

  static int seal(int fd, const std::vector<char>& signature) {
    auto args = sized<llmos_model_seal>();
    args.signature = reinterpret_cast<uint64_t>(signature.data());
    args.signature_size = signature.size();
    return command(fd, LLMOS_MODEL_SEAL, args);
  }

  static Fd filled() {
    Fd fd = create("model", bytes);
    write_pattern(fd, bytes);
    return fd;
  }

  const std::string work = "/tmp/signatures";
};

TEST_F(Signature, GoodOneIsAcceptedAndRemembered) {
  trust("signer");
  const Fd fd = filled();
  EXPECT_EQ(stat_of(fd).flags, 0u);
  EXPECT_OK(seal(fd, sign("signer")));
  EXPECT_EQ(stat_of("model").flags, uint32_t{LLMOS_MODEL_SIGNED});
}

TEST_F(Signature, UnknownSignerIsRefusedAndTheModelIsNotLost) {
  make_key("stranger");
  trust("signer");
  const Fd fd = filled();
  EXPECT_ERRNO(ENOKEY, seal(fd, sign("stranger")));
  EXPECT_TRUE(list_models().empty());
  EXPECT_OK(seal(fd, sign("signer")));
}

TEST_F(Signature, WithoutAnyCertificate) {
  const Fd fd = filled();
  EXPECT_ERRNO(ENOKEY, seal(fd, sign("signer")));
  EXPECT_OK(model_seal(fd)) << "unsigned is allowed unless required";
  EXPECT_EQ(stat_of("model").flags, 0u);
}

TEST_F(Signature, OfOtherBytesIsRejected) {
  trust("signer");
  const Fd fd = filled();
  EXPECT_ERRNO(EKEYREJECTED, seal(fd, sign("signer", 1)));
  EXPECT_EQ(stat_of(fd).flags, 0u);
  EXPECT_EQ(stat_of(fd).state, static_cast<uint32_t>(LLMOS_STATE_FILLING));
}

TEST_F(Signature, TamperedOnesAreRejected) {
  trust("signer");
  const Fd fd = filled();
  auto signature = sign("signer");
  signature[signature.size() - 5] ^= 1;
  EXPECT_ERRNO(EKEYREJECTED, seal(fd, signature));
  signature[signature.size() - 5] ^= 1;
  auto shortened = signature;
  shortened.pop_back();
  EXPECT_ERRNO(EBADMSG, seal(fd, shortened));
  EXPECT_ERRNO(EBADMSG, seal(fd, std::vector<char>(100, 'x')));
  auto args = sized<llmos_model_seal>();
  args.signature_size = 100;
  EXPECT_ERRNO(EFAULT, command(fd, LLMOS_MODEL_SEAL, args));
  EXPECT_OK(seal(fd, signature));
}

TEST_F(Signature, RequiredByTheModulesSwitch) {
  trust("signer");
  const Setting required(required_switch, "1");
  EXPECT_EQ(query().flags, uint32_t{LLMOS_QUERY_SIGNATURE_REQUIRED});
  const Fd fd = filled();
  EXPECT_ERRNO(ENOKEY, model_seal(fd));
  EXPECT_TRUE(list_models().empty());
  EXPECT_OK(seal(fd, sign("signer")));
}

TEST_F(Signature, CertificateTakenAwayCountsNoMore) {
  trust("signer");
  const auto signature = sign("signer");
  make_model("before", page);
  must_shell("keyctl clear " + keyring());
  EXPECT_ERRNO(ENOKEY, seal(filled(), signature));
}

TEST_F(Signature, OnlyRootAddsCertificates) {
  EXPECT_ERRNO_AS(root, 0, shell("keyctl show " + keyring()).status ? -1 : 0);
  in_child(alice, [&] {
    EXPECT_NE(shell("keyctl padd asymmetric mine " + keyring() + " < " + work + "/signer.der").status, 0);
    EXPECT_NE(shell("keyctl clear " + keyring()).status, 0);
  });
  EXPECT_ERRNO(ENOKEY, seal(filled(), sign("signer")));
}

}  // namespace
}  // namespace llmos::guest
