"""Images as the rest of the project wants them: RGB, 8 bits a channel, upright."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

from siamtrack.errors import InputError
from siamtrack.io import MOST_PIXELS


def decode_image(data: bytes, name: str) -> np.ndarray:
    """Decode an image file's content to RGB uint8 (H, W, 3); messages call it by `name`.

    Grey images are repeated to three channels, alpha is dropped, of 16 bits the upper 8 are kept, and the picture is
    turned as EXIF says. The pixels of a JPEG are those that OpenCV decodes: both use libjpeg-turbo.

    Raises:
        InputError: no image, damaged, too large to decode, or of float values.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise InputError(f"'{name}' has {opened.width}x{opened.height} pixels; expected at most {MOST_PIXELS}")
            # Only an image that is turned is copied for it; tag 0x0112 is EXIF's orientation.
            image = ImageOps.exif_transpose(opened) if opened.getexif().get(0x0112, 1) != 1 else opened
            if image.mode == "F":
                raise InputError(f"'{name}' has float32 values; expected images of 8 or 16 bits a channel")
            if image.mode == "I" or image.mode.startswith("I;16"):
                grey = np.right_shift(np.asarray(image), 8).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except InputError:
        raise
    except Exception as error:  # a decoder raises whatever it stumbles over in a damaged file
        what = "empty, damaged, too large or of a format that is not known"
        raise InputError(f"'{name}' is not an image that can be read ({what})") from error
