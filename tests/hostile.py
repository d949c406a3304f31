"""Files that are made to keep their readers busy, or to fill the memory, and what a reader may take for them."""

import contextlib
import io
import resource
import struct
import time
import zipfile
import zlib
from pathlib import Path

SECONDS = 3.0  # of a processor, on a slow one: what is bounded takes less than one on a quick one
MEGABYTES = 1000


@contextlib.contextmanager
def bounded(seconds: float = SECONDS, megabytes: int = MEGABYTES):
    """What is done inside takes no more time of the processor, and no more memory than was ever held before."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert time.process_time() - start < seconds
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < megabytes * 1024


def torch_file(path: Path, pickled: bytes, **stored: bytes) -> Path:
    """A file as `torch.save` writes it, of this pickle and these storages."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, value in stored.items():
            archive.writestr(f"archive/data/{name}", value)
    return path


def text(word: str) -> bytes:
    """A text as a pickle has it."""
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def doubled(times: int) -> bytes:
    """A pair of a pair of a pair …, each the same one twice: few bytes, 2^times leaves."""
    return b"K\x01" + b"q\x00h\x00\x86" * times


def storage(key: bytes = text("0"), count: bytes = b"K\x04") -> bytes:
    """A reference to a storage."""
    return b"(" + text("storage") + b"ctorch\nFloatStorage\n" + key + text("cpu") + count + b"tQ"


def tensor(view: bytes, held: bytes = storage()) -> bytes:
    """A tensor that is a view of a storage: offset, size and stride."""
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + held + view + b"\x89NtR"


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, kind: int, depth: int, line_filter: int = 4) -> bytes:
    """A PNG of one colour, with all lines filtered alike."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
    packed, line = zlib.compressobj(6), bytes([line_filter]) + bytes(width * channels * depth // 8)
    stream = b"".join([packed.compress(line) for _ in range(height)]) + packed.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")


def tiff_of_one_pixel(tile: int) -> bytes:
    """A TIFF of one pixel that lies in a tile of many, compressed."""
    packed, lines = zlib.compressobj(6), bytes(tile)
    stream = b"".join([packed.compress(lines) for _ in range(tile)]) + packed.flush()
    stream += bytes(len(stream) % 2)
    long, short = 4, 3
    tags = [(256, long, 1), (257, long, 1), (258, short, 8), (259, short, 8), (262, short, 1), (277, short, 1)]
    tags += [(322, long, tile), (323, long, tile), (324, long, 8), (325, long, len(stream))]
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", name, kind, 1, n) for name, kind, n in tags
    )
    return b"II*\0" + struct.pack("<I", 8 + len(stream)) + stream + directory + bytes(4)


def list_of_members(count: int) -> bytes:
    """An archive that lists members none of which is there."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, *[0] * 8, 6, *[0] * 6)
    listed = b"".join(entry + b"%06x" % number for number in range(count))
    start, shown = b"PK\3\4" + bytes(26), min(count, 65535)
    return start + listed + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, shown, shown, len(listed), len(start), 0)


def bomb_of_zeros(path: Path, name: str, megabytes: int) -> Path:
    """An .npz file with one array of bytes that are 0: it has a thousandth of their size."""
    shape = str((1, megabytes, 2**20))
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(f"{name}.npy", "w") as member:
        member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
        for _ in range(megabytes):
            member.write(bytes(2**20))
    return path


def one_over_another(path: Path, name: str, body: bytes, times: int) -> Path:
    """An archive whose members are all the same place of the file."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name.format(0), body)
    whole = path.read_bytes()
    end = whole.rindex(b"PK\5\6")
    (start,) = struct.unpack("<L", whole[end + 16 : end + 20])
    entry, first = whole[start:end], name.format(0).encode()
    entries = b"".join(entry.replace(first, name.format(number).encode()) for number in range(times))
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, times, times, len(entries), start, 0)
    path.write_bytes(whole[:start] + entries + tail)
    return path


def many_scans(jpeg: bytes, count: int) -> bytes:
    """A progressive JPEG with its last scan, and the table before it, so many times more."""
    table = jpeg.rindex(b"\xff\xc4", 0, jpeg.rindex(b"\xff\xda"))
    return jpeg[:-2] + jpeg[table:-2] * count + jpeg[-2:]


def saved(array_writer, *arguments, **options) -> bytes:
    """The bytes that a function writes into a file."""
    file = io.BytesIO()
    array_writer(file, *arguments, **options)
    return file.getvalue()
