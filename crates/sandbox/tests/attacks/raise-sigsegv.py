# attack: {"tries": "sends itself SIGSEGV", "outcomes": ["signalled", "exited", "wall-limit"]}
done()
os.kill(os.getpid(), signal.SIGSEGV)
time.sleep(0.01)
