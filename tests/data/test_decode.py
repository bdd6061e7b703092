"""Every kind of file that a folder of photos may hold."""

import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from cgt_tf.data import decode
from cgt_tf.errors import InputError

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 30), (30, 30, 220), (230, 220, 30)


def quarters(width=64, height=64):
    """Red top left, green top right, blue bottom left, yellow bottom right."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, YELLOW
    return Image.fromarray(pixels)


def assert_quarters(pixels, tolerance=3):
    third = len(pixels) // 3
    corners = pixels[2, 2], pixels[2, -third], pixels[-third, 2], pixels[-third, -third]
    np.testing.assert_allclose(np.stack(corners), [RED, GREEN, BLUE, YELLOW], atol=tolerance)


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("RGB", "a.png"),
        ("P", "a.png"),
        ("P", "a.gif"),
        ("CMYK", "a.jpg"),
        ("CMYK", "a.tif"),
        ("RGB", "a.webp"),
        ("RGB", "a.bmp"),
        ("RGBA", "a.png"),
    ],
)
def test_modes_and_formats_give_the_same_picture(tmp_path, mode, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    image = quarters()
    # convert("P") would dither to a fixed palette.
    image = image.quantize(4, dither=Image.Dither.NONE) if mode == "P" else image.convert(mode)
    image.save(tmp_path / name, **options)
    pixels = decode.decode_image(tmp_path / name, 32)
    assert pixels.dtype == np.uint8 and pixels.shape == (32, 32, 3)
    assert_quarters(pixels)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    Image.fromarray(ramp).save(tmp_path / "a.png")
    row = decode.decode_image(tmp_path / "a.png", 64)[10, [0, 16, 32, 48, 63]]
    np.testing.assert_allclose(row, np.array([0, 64, 129, 194, 255])[:, None] * [[1, 1, 1]], atol=2)


def test_gray_beyond_sixteen_bits_and_float_are_refused(tmp_path):
    Image.fromarray(np.full((16, 16), 70000, np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(decode.UnreadableImage, match="16-bit range"):
        decode.decode_image(tmp_path / "a.tif", 16)
    Image.fromarray(np.full((16, 16), 0.5, np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(decode.UnreadableImage, match="floating-point"):
        decode.decode_image(tmp_path / "b.tif", 16)


def test_alpha_is_blended_over_white(tmp_path):
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:] = (255, 0, 255, 0)  # Hidden magenta.
    pixels[4:12, 4:12] = (20, 160, 60, 128)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    decoded = decode.decode_image(tmp_path / "a.png", 16)
    assert tuple(decoded[0, 0]) == (255, 255, 255)
    np.testing.assert_allclose(decoded[8, 8], (137, 207, 157), atol=1)


def test_transparent_palette_colour_is_white(tmp_path):
    image = quarters().quantize(4, dither=Image.Dither.NONE)
    image.save(tmp_path / "a.png", transparency=image.getpixel((2, 2)))
    decoded = decode.decode_image(tmp_path / "a.png", 64)
    assert tuple(decoded[2, 2]) == (255, 255, 255)
    np.testing.assert_allclose(decoded[-2, -2], YELLOW, atol=1)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn by 90 degrees clockwise to view.
    upright = quarters(64, 96)
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)
    assert decode.read_square(tmp_path / "a.jpg").size == (64, 64)
    assert_quarters(decode.decode_image(tmp_path / "a.jpg", 32), tolerance=6)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    decoded = decode.decode_image(tmp_path / "a.gif", 8)
    np.testing.assert_allclose(decoded, np.broadcast_to(RED, (8, 8, 3)), atol=1)


def test_oblong_is_cropped_at_the_centre(tmp_path):
    pixels = np.zeros((20, 400, 3), np.uint8)
    pixels[:, 190:210] = RED
    Image.fromarray(pixels).save(tmp_path / "a.png")
    decoded = decode.decode_image(tmp_path / "a.png", 10)
    np.testing.assert_array_equal(decoded, np.broadcast_to(RED, (10, 10, 3)))


def test_shrinking_is_antialiased(tmp_path):
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).save(tmp_path / "a.png")
    inner = decode.decode_image(tmp_path / "a.png", 16)[2:-2, 2:-2]
    np.testing.assert_allclose(inner, 127.5, atol=2)


def test_same_size_is_left_alone(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode.decode_image(tmp_path / "a.png", 32), pixels)


def write_truncated(path):
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    Image.fromarray(pixels).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 45 // 100])


def write_png(width, height):
    return lambda path: Image.new("RGB", (width, height)).save(path, "PNG")


def write_header_of_huge_png(path):
    write_png(16, 16)(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (60000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: path.write_text("not a picture"), "not a picture"),
        (write_truncated, "damaged: image file is truncated"),
        (write_png(1, 1), "1x1: a side is below 8"),
        (write_png(4000, 3), "4000x3: a side is below 8"),
        (write_header_of_huge_png, "more than Pillow's safety limit"),
        (lambda path: None, "damaged: .*No such file"),
    ],
)
def test_unusable_files_give_a_reason(tmp_path, write, reason):
    path = tmp_path / "a.jpg"
    write(path)
    with pytest.raises(decode.UnreadableImage, match=reason) as caught:
        decode.decode_image(path, 32)
    assert "\n" not in caught.value.reason


def test_between_once_and_twice_pillows_limit_is_refused_too(tmp_path, monkeypatch):
    # Pillow only warns there.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    write_png(16, 16)(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(decode.UnreadableImage, match="safety limit of 200 pixels"):
            decode.decode_image(tmp_path / "a.png", 16)


def test_damaged_bytes_never_escape_as_another_error(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    for name in ("a.png", "a.gif", "a.jpg", "a.bmp", "a.webp"):
        quarters(24, 24).save(tmp_path / name)
        good = (tmp_path / name).read_bytes()
        for _ in range(60):
            content = bytearray(good)
            for position in rng.integers(0, len(content), 4):
                content[position] = rng.integers(256)
            path.write_bytes(content)
            try:
                assert decode.decode_image(path, 16).shape == (16, 16, 3)
            except decode.UnreadableImage as error:
                assert error.reason


def test_fit_pixels():
    gray = np.full((20, 10, 1), 7, np.uint8)
    np.testing.assert_array_equal(decode.fit_pixels(gray, 8), np.full((8, 8, 3), 7))
    deep = np.full((8, 8, 3), 65535, np.uint16)
    np.testing.assert_array_equal(decode.fit_pixels(deep, 8), np.full((8, 8, 3), 255))
    clear = np.zeros((8, 8, 4), np.uint8)
    np.testing.assert_array_equal(decode.fit_pixels(clear, 8), np.full((8, 8, 3), 255))
    with pytest.raises(decode.UnreadableImage, match="float32"):
        decode.fit_pixels(np.zeros((8, 8, 3), np.float32), 8)


@pytest.mark.parametrize("resolution", [0, 7, 2048, 32.0, "32"])
def test_resolution_out_of_range(resolution):
    with pytest.raises(InputError, match="resolution of 8 to 1024"):
        decode.check_resolution(resolution)
