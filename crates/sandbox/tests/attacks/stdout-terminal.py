# attack: {"tries": "asks for a terminal and pushes input into it", "outcomes": ["exited"]}
import fcntl
import termios
for descriptor in range(3):
    attempt("TIOCSTI", lambda: fcntl.ioctl(descriptor, termios.TIOCSTI, b"x"))
attempt("controlling terminal", lambda: os.open("/dev/tty", os.O_RDWR))
attempt("new terminal", lambda: os.open("/dev/ptmx", os.O_RDWR))
done()
