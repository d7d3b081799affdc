# attack: {"tries": "makes a file of a tebibyte with nothing in it", "outcomes": ["exited", "output-limit"]}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def sparse():
    with open("sparse", "wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(bytes(1 << 20))
        return os.fstat(file.fileno()).st_blocks * 512 > 2 * given["limits"]["fileMiB"] << 20
attempt("sparse", sparse)
done()
