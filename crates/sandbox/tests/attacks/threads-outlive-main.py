# attack: {"tries": "leaves threads that go on after main has ended", "outcomes": ["exited"]}
def later():
    time.sleep(0.05)
    done()
threading.Thread(target=later).start()
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
