# attack: {"tries": "makes system calls by int 0x80 and the x32 numbers, which a filter may not know", "outcomes": ["exited", "signalled"]}
import mmap
def compat():
    # mov eax, 20 (getpid of i386); int 0x80; ret
    area = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    area.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    code = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(area)))
    result = code()
    return result > 0 and f"getpid by int 0x80 gave {result}"
attempt_apart("i386", compat)
def compat_socket():
    # mov eax, 359 (socket); mov ebx, 2; mov ecx, 1; xor edx, edx; int 0x80; ret, with rbx kept
    area = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    area.write(b"\x53\xb8\x67\x01\x00\x00\xbb\x02\x00\x00\x00\xb9\x01\x00\x00\x00\x31\xd2\xcd\x80\x5b\xc3")
    result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(area)))()
    return result >= 0 and f"socket by int 0x80 gave {result}"
attempt_apart("i386", compat_socket)
for number in (39, 102, 272, 512, 520, 521, 539):
    attempt_apart(f"x32 {number}", lambda: succeeds(0x40000000 | number, 0x10000000, 0, 0))
attempt_apart("vsyscall", lambda: None)
done()
