# attack: {"tries": "reads the host's accounts, keys, homes and this repository", "outcomes": ["exited"]}
import hashlib
def differs_not(path, digest):
    return digest is not None and hashlib.sha256(open(path, "rb").read()).hexdigest() == digest and path
attempt("passwd", lambda: differs_not("/etc/passwd", given["passwdDigest"]))
kept_at_home = [os.path.join(given["home"], name) for name in (".ssh/id_rsa", ".ssh/id_ed25519", ".bashrc", ".netrc")]
for path in ("/etc/shadow", "/etc/hostname", "/etc/machine-id", "/var/log/dpkg.log", *kept_at_home, given["secretFile"], *given["secretFiles"]):
    attempt(f"read {path}", lambda: open(path, "rb").read(256))
for folder in ("/home", "/mnt", "/srv", "/opt", "/var", "/boot", "/tmp", given["home"], given["repository"], *given["folders"]):
    attempt(f"listed {folder}", lambda: [name for name in os.listdir(folder) if name not in given["interpreterWay"]])
done()
