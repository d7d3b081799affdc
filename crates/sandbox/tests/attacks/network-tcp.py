# attack: {"tries": "connects to servers on the host, the link and the world", "outcomes": ["exited"]}
for host, port in (("127.0.0.1", given["tcpPort"]), ("0.0.0.0", given["tcpPort"]), (given["hostAddress"], given["tcpPort"]),
                   ("169.254.169.254", 80), ("8.8.8.8", 53), ("1.1.1.1", 443)):
    attempt(f"connected to {host}", lambda: socket.create_connection((host, port), 0.2))
attempt("connected by IPv6", lambda: socket.create_connection(("::1", given["tcpPort"]), 0.2))
def listen():
    server = socket.socket()
    server.bind(("0.0.0.0", 0))
    server.listen()
    return False
attempt("listens", listen)
done()
