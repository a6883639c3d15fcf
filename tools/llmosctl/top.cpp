// SPDX-License-Identifier: MIT
// llmosctl top: devices, groups, lanes and models, live.
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <thread>

#include "cli.hpp"
#include "json.hpp"
#include "snapshot.hpp"

namespace llmosctl {
namespace {

struct TopOptions {
  double delay = 1;
  bool once = false;
};

constexpr const char* kEnter = "\x1b[?1049h\x1b[?25l";  // the alternate screen, without a cursor
constexpr const char* kLeave = "\x1b[?25h\x1b[?1049l";
constexpr const char* kHome = "\x1b[H";
constexpr const char* kClearLine = "\x1b[K";
constexpr const char* kClearBelow = "\x1b[J";

void put(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

// The terminal while it is ours: keys come one by one, Ctrl-C as a key, and what asks us to end as something to be
// polled, so that it is always given back.
class Screen {
 public:
  Screen() {
    sigset_t ends;
    sigemptyset(&ends);
    for (const int signal : {SIGTERM, SIGHUP, SIGINT}) sigaddset(&ends, signal);
    ::sigprocmask(SIG_BLOCK, &ends, nullptr);
    signals_ = ::signalfd(-1, &ends, SFD_CLOEXEC);
    ::tcgetattr(STDIN_FILENO, &saved_);
    termios raw = saved_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
    ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    put(kEnter);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  ~Screen() {
    put(kLeave);
    ::tcsetattr(STDIN_FILENO, TCSANOW, &saved_);
    ::close(signals_);
  }

  // Waits; true when somebody wants us to end.
  bool quits_within(double seconds) const {
    pollfd events[] = {{signals_, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (::poll(events, 2, static_cast<int>(seconds * 1000)) <= 0) return false;
    char key = 'q';
    if (events[0].revents || ::read(STDIN_FILENO, &key, 1) != 1) return true;
    return key == 'q' || key == 'Q' || key == 3;  // Ctrl-C
  }

  static winsize size() {
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_row < 4) size.ws_row = 24, size.ws_col = 80;
    return size;
  }

  // As much as fits: no line wraps, and nothing scrolls.
  static void show(const std::string& text) {
    const winsize window = size();
    std::string frame = kHome;
    size_t row = 0;
    for (size_t from = 0; from < text.size() && row + 1 < window.ws_row; row++) {
      const size_t to = std::min(text.find('\n', from), text.size());
      frame += text.substr(from, std::min<size_t>(to - from, window.ws_col)) + kClearLine + "\r\n";
      from = to + 1;
    }
    put(frame + kClearBelow);
  }

 private:
  termios saved_{};
  int signals_ = -1;
};

std::string title(double delay) {
  const std::time_t now = std::time(nullptr);
  char clock[16];
  std::strftime(clock, sizeof(clock), "%H:%M:%S", std::localtime(&now));
  return fmt::format("llmosctl top  {}  every {:g} s  (q: quit)\n\n", clock, delay);
}

void live(double delay) {
  Snapshot before = take_snapshot();  // an error is told on the ordinary screen
  const Screen screen;
  for (;;) {
    const Snapshot now = take_snapshot();
    // Four tables with a heading and a blank line each.
    const size_t room = Screen::size().ws_row > 14 ? (Screen::size().ws_row - 10u) / 4 : 1;
    Screen::show(title(delay) + to_text(before, now, std::max<size_t>(1, room)));
    before = now;
    if (screen.quits_within(delay)) return;
  }
}

void once(const Globals& globals, double delay) {
  const Snapshot before = take_snapshot();
  std::this_thread::sleep_for(std::chrono::duration<double>(delay));
  const Snapshot now = take_snapshot();
  if (globals.json) return print(to_json(before, now));
  fmt::print("{}", to_text(before, now, SIZE_MAX));
}

}  // namespace

void add_top(CLI::App& app, Globals& globals) {
  auto options = std::make_shared<TopOptions>();
  CLI::App* command = app.add_subcommand("top", "Show devices, groups, lanes and models, live");
  command->add_option("-d,--delay", options->delay, "Seconds between two looks (default: 1)")
      ->check(CLI::Range(0.1, 3600.0));
  command->add_flag("--once", options->once, "Look twice, print what happened in between, and end");
  command->callback([=, &globals] {
    if (options->once || globals.json || !::isatty(STDOUT_FILENO) || !::isatty(STDIN_FILENO))
      once(globals, options->delay);
    else
      live(options->delay);
  });
}

}  // namespace llmosctl
