"""Replays as videos: GIF, or MP4 by ffmpeg."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from understudy.console import Bar
from understudy.errors import ConfigError, MissingPackageError, UserError
from understudy.files import whole
from understudy.games.painting import paint
from understudy.serving.play.replays import Replay

HEIGHT, WIDEST = 480, 1280
"""Pixels: as large a picture as fits both."""
KINDS = (".gif", ".mp4")


def check_kind(path: Path) -> None:
    """Raise ConfigError unless a file's name says that it is a kind of video that can be written."""
    if path.suffix.lower() not in KINDS:
        raise ConfigError(f"--save {path}: expected a name that ends in {' or '.join(KINDS)}")


def write_video(path: Path, replay: Replay, dark: bool, bar: Bar) -> None:
    """Write a replay as a video, at the game's own pace.

    Raises:
        MissingPackageError: ffmpeg, which MP4 needs, is not there.
    """
    scene = replay.scene
    scale = max(1, int(min(HEIGHT / scene.height, WIDEST / scene.width)))

    def images() -> Iterator[Image.Image]:
        for frame in replay.frames:
            yield paint(scene, frame, scale, dark)
            bar.advance()

    with whole(path) as temporary:
        if path.suffix.lower() == ".gif":
            first, *others = (image.quantize(64) for image in images())
            # GIF counts in hundredths of a second
            milliseconds = max(20, round(scene.seconds * 100) * 10)
            first.save(temporary, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
        else:
            _write_mp4(temporary, images(), 1 / scene.seconds)


def _write_mp4(path: Path, images: Iterator[Image.Image], rate: float) -> None:
    # Colours in H.264 count per 2 × 2 pixels, so sides are even
    even = (image.crop((0, 0, image.width // 2 * 2, image.height // 2 * 2)) for image in images)
    first = next(even)
    given = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{first.width}x{first.height}", "-r", f"{rate:.6f}")
    wanted = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4")
    command = (_ffmpeg(), "-loglevel", "error", "-y", *given, "-i", "-", *wanted, str(path))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stderr
        try:
            process.stdin.write(first.tobytes())
            for image in even:
                process.stdin.write(image.tobytes())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it says why below
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise UserError(f"ffmpeg cannot write the video: {said.splitlines()[-1] if said else process.returncode}")


def _ffmpeg() -> str:
    if found := shutil.which("ffmpeg"):
        return found
    try:
        import imageio_ffmpeg  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingPackageError(
            "MP4 needs ffmpeg: install it, or pip install 'understudy[video]'; GIF needs nothing"
        ) from error
    program: str = imageio_ffmpeg.get_ffmpeg_exe()
    return program
