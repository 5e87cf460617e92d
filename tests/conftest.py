"""What holds for all tests."""

import os

# OpenCV asks once in a process how much FFmpeg may print: at the first capture or writer, whoever opens it. The daemon
# opens none but through `cameras.capture`, which asks for silence; tests also write clips of their own.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
