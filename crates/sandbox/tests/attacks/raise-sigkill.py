# attack: {"tries": "sends itself SIGKILL", "outcomes": ["signalled", "exited", "wall-limit"]}
done()
os.kill(os.getpid(), signal.SIGKILL)
time.sleep(0.01)
