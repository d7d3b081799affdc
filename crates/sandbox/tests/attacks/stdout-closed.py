# attack: {"tries": "closes all its descriptors and goes on", "outcomes": ["exited", "wall-limit"]}
done()
os.closerange(0, 1024)
time.sleep(0.05)
os._exit(0)
