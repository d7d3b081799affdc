# attack: {"tries": "sends itself SIGXCPU", "outcomes": ["signalled", "exited", "wall-limit"]}
done()
os.kill(os.getpid(), signal.SIGXCPU)
time.sleep(0.01)
