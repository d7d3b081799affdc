# attack: {"tries": "sends itself SIGTERM", "outcomes": ["signalled", "exited", "wall-limit"]}
done()
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.01)
