# attack: {"tries": "connects to unix sockets of the host, by path and abstract", "outcomes": ["exited"]}
for name in (given["unixPath"], "\0" + given["abstractName"], "/run/docker.sock", "/var/run/docker.sock", "/run/systemd/private",
             "/run/dbus/system_bus_socket", "/tmp/.X11-unix/X0", "\0/tmp/.X11-unix/X0"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        def connect():
            client = socket.socket(socket.AF_UNIX, kind)
            client.settimeout(0.2)
            client.connect(name)
            return name
        attempt("connected", connect)
done()
