// SPDX-License-Identifier: MIT
// Unmodified programs on /sys/fs/llmos/models/NAME.
#include <memory>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

constexpr uint64_t bytes = 5 * MiB + 4321;

// A model and a file of the same bytes; $M and $F in the commands.
class Files : public ModuleTest {
 protected:
  void SetUp() override {
    ModuleTest::SetUp();
    file = std::make_unique<ScratchFile>("file", bytes);
    make_model("model", bytes, {.mode = 0444, .uid = 1000});
  }
  void TearDown() override {
    file.reset();
    ModuleTest::TearDown();
  }

  // Runs the command in an empty folder; expects it to succeed and returns what it said.
  std::string run(const std::string& command) const {
    const Output output = shell("export M=" + path_of("model") + " F=" + file->path() +
                                "; rm -rf /scratch/work; mkdir /scratch/work; cd /scratch/work; set -e; " + command);
    EXPECT_EQ(output.status, 0) << command << "\n" << output.text;
    return output.text;
  }

  std::unique_ptr<ScratchFile> file;
};

TEST_F(Files, Cmp) {
  run("cmp $M $F");
  run("! cmp -s $M /bin/true");
}

TEST_F(Files, ChecksumsFromTheFileAndFromAPipe) {
  run("test \"$(sha256sum <$M)\" = \"$(sha256sum <$F)\"");
  run("test \"$(md5sum <$M)\" = \"$(cat $M | md5sum)\"");
  run("test \"$(cksum <$M)\" = \"$(cksum <$F)\"");
}

TEST_F(Files, PythonMmap) {
  run(R"(python3 - $M $F <<'EOF_PYTHON'
import mmap, os, sys
with open(sys.argv[1], "rb") as model, open(sys.argv[2], "rb") as file:
    mapped = mmap.mmap(model.fileno(), 0, access=mmap.ACCESS_READ)
    wanted = file.read()
    assert len(mapped) == len(wanted) and mapped[:] == wanted
    assert model.read() == wanted
    copy = mmap.mmap(model.fileno(), 0, access=mmap.ACCESS_COPY)
    copy[:4] = b"COPY"
    assert mapped[:4] == wanted[:4] and copy[:4] == b"COPY"
    assert os.getxattr(sys.argv[1], "user.llmos.digest").startswith(b"sha256:")
    assert os.sendfile(os.memfd_create("x"), model.fileno(), 0, 100) == 100
EOF_PYTHON
)");
}

TEST_F(Files, FsverityDigestAndMeasure) {
  run("test \"$(fsverity digest --compact $M)\" = \"$(fsverity digest --compact $F)\"");
  run("test \"$(fsverity measure $M | cut -d' ' -f1)\" = \"sha256:$(fsverity digest --compact $F)\"");
}

TEST_F(Files, Dd) {
  run("dd if=$M of=copy bs=1M iflag=direct status=none; cmp copy $F");
  run("dd if=$M of=copy bs=64k oflag=nocache iflag=fullblock conv=sync status=none; cmp -n " +
      std::to_string(bytes) + " copy $F");
  run("dd if=$M of=part bs=1 skip=4194303 count=3 status=none; tail -c +4194304 $F | head -c 3 | cmp - part");
}

TEST_F(Files, Cp) {
  run("cp $M copy; cmp copy $F");
  run("cp --reflink=never --sparse=never $M copy; cmp copy $F");
  run("cp --reflink=auto --sparse=always $M copy; cmp copy $F");
  run("! cp --reflink=always $M copy 2>/dev/null");
  run("cp -a $M copy; cmp copy $F; test $(stat -c %u copy) = 1000");
  run("! cp $F $M 2>/dev/null; ! mv $F " + models_dir + "/ 2>/dev/null; ! rm -f $M 2>/dev/null; cmp $M $F");
}

TEST_F(Files, ListingAndAttributes) {
  EXPECT_EQ(run("cd " + models_dir + "; ls"), "model\n");
  EXPECT_EQ(run("stat -c '%s %A %u %h %F' $M"), std::to_string(bytes) + " -r--r--r-- 1000 1 regular file\n");
  EXPECT_EQ(run("find " + models_dir + " -type f -size +4M -name 'm*' -printf '%f\\n'"), "model\n");
  EXPECT_EQ(run("getfattr --absolute-names --only-values -n user.llmos.digest $M | cut -c1-7"), "sha256:\n");
  EXPECT_NE(run("getfattr -d $M").find("user.llmos.digest"), std::string::npos);
  run("df " + models_dir + " >/dev/null; du -b $M >/dev/null; realpath $M >/dev/null; namei -l $M >/dev/null");
  run("ln -s $M link; cmp link $F");
}

TEST_F(Files, PipesHeadsAndTails) {
  run("head -c 1000000 $M >a; head -c 1000000 $F | cmp - a");
  run("tail -c 1000000 $M >a; tail -c 1000000 $F | cmp - a");
  run("cat $M $M >a; cat $F $F | cmp - a");
  run("tar -C " + models_dir + " -c model | tar -x; cmp model $F");
  run("od -An -tx8 -N64 $M >a; od -An -tx8 -N64 $F | cmp - a");
}

TEST_F(Files, ReadOnlyLoopDeviceWithAFilesystemOnIt) {
  if (shell("modprobe loop").status && !exists("/dev/loop-control")) GTEST_SKIP() << "no loop devices here";
  run("truncate -s 8M image; mke2fs -q -t ext4 -d /etc/udev image 8M; cp image $F");
  EXPECT_OK(model_remove("model"));
  const Fd fd = create("model", 8 * MiB);
  EXPECT_OK(model_fill(fd, file->open()));
  EXPECT_OK(model_seal(fd));
  run("mkdir mnt; mount -o loop,ro,noload $M mnt; diff -r mnt/ /etc/udev -x lost+found; umount mnt");
}

TEST_F(Files, FourProgramsAtOnce) {
  run("pids=; for i in 1 2 3 4; do cmp $M $F & pids=\"$pids $!\"; done; for p in $pids; do wait $p; done");
}

}  // namespace
}  // namespace llmos::guest
