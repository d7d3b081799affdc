# attack: {"tries": "sends datagrams", "outcomes": ["exited"]}
for host, port in (("127.0.0.1", given["udpPort"]), (given["hostAddress"], given["udpPort"]), ("8.8.8.8", 53), ("255.255.255.255", 9)):
    def send():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        return sender.sendto(b"leak", (host, port))
    attempt(f"sent to {host}", send)
done()
