# attack: {"tries": "keeps its outputs open beyond its death, in a socket that was sent through itself", "outcomes": ["exited"], "exitCode": 0, "pidsKept": true}
import array
one, other = socket.socketpair()
rights = array.array("i", [one.fileno(), other.fileno(), 1, 2])
done()
one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
os._exit(0)
