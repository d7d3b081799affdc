# attack: {"tries": "resolves names", "outcomes": ["exited"]}
for name in ("example.com", "localhost.localdomain", "metadata.google.internal"):
    attempt(f"resolved {name}", lambda: [entry for entry in socket.getaddrinfo(name, 80) if entry[4][0] not in ("127.0.0.1", "::1")])
done()
