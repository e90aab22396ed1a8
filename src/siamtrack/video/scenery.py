"""The procedural parts of the demo clip: noise, a reef under water, kelp, and a striped fish.

Everything is computed from random numbers with a seed: no picture is stored, none is under anybody's licence.
Colours are RGB floats in [0, 1] while a frame is composed.
"""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["FISH_LENGTH", "fish_sprite", "fractal_noise", "kelp", "over", "reef", "water"]

Image = np.ndarray

FISH_LENGTH = 480
"""Pixels from nose to tail of a fish sprite."""


def fractal_noise(size: tuple[int, int], cell: float, octaves: int, rng: np.random.Generator) -> Image:
    """Sum noise of octaves, each half as wide and half as strong as the one before: (H, W) in [0, 1].

    `size` is (width, height), `cell` the widest octave's spacing in pixels.
    """
    width, height = size
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = cell / 2**octave
        grid = rng.random((int(height / step) + 3, int(width / step) + 3), dtype=np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / (high - low)


def over(ground: Image, layer: Image) -> None:
    """Lay a premultiplied RGBA layer (H, W, 4) over an RGB ground (H, W, 3), in place."""
    ground *= 1 - layer[..., 3:]
    ground += layer[..., :3]


def water(size: tuple[int, int], rng: np.random.Generator) -> Image:
    """Open water: bright and green above, dark and blue below, with broad drifts of light."""
    height = size[1]
    depth = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    stops = np.array([0.0, 0.25, 0.65, 1.0])
    colours = np.array([(0.50, 0.80, 0.80), (0.20, 0.60, 0.68), (0.06, 0.36, 0.50), (0.03, 0.20, 0.33)])
    ramp = np.stack([np.interp(depth[:, 0], stops, colours[:, c]) for c in range(3)], -1)
    drift = fractal_noise(size, 260, 4, rng) - 0.5
    return (ramp[:, None, :] * (1 + 0.35 * drift[..., None])).astype(np.float32)


def reef(size: tuple[int, int], level: float, haze: float, rng: np.random.Generator) -> Image:
    """A ridge of rock overgrown with coral as a premultiplied layer (H, W, 4).

    Args:
        size: (width, height).
        level: how far down the ridge begins, as a fraction of the height.
        haze: 0 for a near ridge, towards 1 for one that fades into the water.
        rng: where its shape comes from.
    """
    width, height = size
    ridge = level * height + 0.26 * height * (fractal_noise((width, 1), 300, 5, rng)[0] - 0.5)
    below = np.arange(height, dtype=np.float32)[:, None] - ridge[None, :].astype(np.float32)
    # Coral heads are bumps of the height field from which the light is computed.
    bumps = 22 * fractal_noise(size, 90, 6, rng) + _coral_heads(size, ridge, rng)
    light = _relief_light(bumps)[..., None]
    tint = fractal_noise(size, 120, 3, rng)[..., None]
    grey, brown, pink = np.array([(0.30, 0.34, 0.30), (0.52, 0.40, 0.34), (0.62, 0.30, 0.42)], np.float32)
    rock = (1 - tint) * grey + tint * brown
    grown = 0.55 * rock + 0.45 * pink
    mask = (fractal_noise(size, 26, 3, rng) > 0.62).astype(np.float32)
    spots: Image = cv2.GaussianBlur(mask, (0, 0), 1.5)[..., None]
    colour = (rock * (1 - 0.7 * spots) + grown * 0.7 * spots) * light
    colour *= np.exp(-np.clip(below, 0, None) / (0.9 * height))[..., None]
    colour = colour * (1 - haze) + haze * np.array([0.10, 0.42, 0.54], np.float32)
    alpha = np.clip(below / 1.5 + bumps / 8, 0, 1)[..., None]
    layer = np.concatenate([colour * alpha, alpha], -1).astype(np.float32)
    return cv2.GaussianBlur(layer, (0, 0), 0.4 + 2.0 * haze)


def kelp(size: tuple[int, int], rng: np.random.Generator) -> Image:
    """Two stems with leaves that stand before everything, a little out of focus: premultiplied (H, W, 4)."""
    width, height = size
    shape = np.zeros((height, width), np.float32)
    shade = np.ones((height, width), np.float32)
    for stem, lean in ((0.40, 6.0), (0.60, -5.0)):
        for y in range(-20, height + 40, 26):
            x = stem * width + lean * np.sin(y / 55)
            side = 1 if (y // 26) % 2 else -1
            angle = 90 - side * rng.uniform(40, 62)
            reach = (int(rng.uniform(30, 40)), int(rng.uniform(9, 12)))
            centre = (int(x + side * 15), int(y - 16))
            cv2.ellipse(shape, centre, reach, 180 - angle, 0, 360, 1.0, cv2.FILLED, cv2.LINE_AA)
            cv2.ellipse(shade, centre, reach, 180 - angle, 0, 360, rng.uniform(0.65, 1.25), cv2.FILLED)
            cv2.line(shape, (int(x), y - 26), (int(x), y + 2), 1.0, 5, cv2.LINE_AA)
    texture = shade * (0.7 + 0.6 * fractal_noise(size, 30, 4, rng))
    colour = texture[..., None] * np.array([0.16, 0.26, 0.07], np.float32)
    layer = np.concatenate([colour * shape[..., None], shape[..., None]], -1)
    return cv2.GaussianBlur(layer.astype(np.float32), (0, 0), 1.3)


def fish_sprite(body: tuple[float, float, float], rng: np.random.Generator) -> Image:
    """A fish seen from its right side, nose to the right: premultiplied RGBA, FISH_LENGTH pixels long.

    `body` is the colour between its three white bands.
    """
    width, height = FISH_LENGTH + 40, 320
    u, v = np.meshgrid(
        (np.arange(width, dtype=np.float32) - width / 2) * 2 / FISH_LENGTH,
        (np.arange(height, dtype=np.float32) - height / 2) * 2 / FISH_LENGTH,
    )
    trunk, fins = _fish_shapes(u, v)
    grain = fractal_noise((width, height), 40, 5, rng)
    scales = 0.5 + 0.5 * np.sin(70 * u + 9 * np.sin(40 * v)) * np.sin(75 * v)
    colour = _fish_colours(u, v, np.array(body, np.float32))
    # Round body: light from above, a soft gleam on the back, shade below.
    gleam = np.exp(-((v + 0.17) ** 2) / 0.008) * (0.6 + 0.4 * grain)
    light = 0.95 - 0.9 * v + 0.22 * (grain - 0.5) + 0.10 * (scales - 0.5)
    colour = np.clip(colour * light[..., None] + 0.18 * gleam[..., None], 0, 1)
    rays = 0.75 + 0.25 * np.sin(90 * v + 12 * u)
    edge = np.clip(cv2.GaussianBlur(fins, (0, 0), 9) * 2 - 1, 0, 1)
    web = np.array(body, np.float32) * (0.85 * rays * (0.25 + 0.75 * edge))[..., None]
    alpha = np.maximum(trunk, 0.94 * fins)
    mixed = colour * trunk[..., None] + web * (1 - trunk[..., None])
    return np.concatenate([mixed * alpha[..., None], alpha[..., None]], -1).astype(np.float32)


def _fish_shapes(u: Image, v: Image) -> tuple[Image, Image]:
    """Return soft masks of the body and of the fins."""
    along = np.clip((u + 0.66) / 1.62, 0, 1)
    half = 0.40 * np.sqrt(np.clip(along * (1 - along) * 4, 0, 1)) * (0.62 + 0.38 * along) + 0.075
    half = np.where((u > -0.72) & (u < 0.965), half * np.clip((0.965 - u) / 0.06, 0, 1) ** 0.5, 0)
    tail = np.where(u > -1.0 + 0.10 * np.cos(9 * v), 0.07 + 0.62 * np.clip(-0.55 - u, 0, None) ** 0.8, 0)
    tail = np.where(u < -0.55, tail, 0)
    notched = (0.85 + 0.15 * np.cos(45 * u)) * (1 - 0.35 * np.exp(-(((u - 0.02) / 0.07) ** 2)))
    back = half + 0.13 * _arch(u, -0.02, 0.55, 4) * notched
    keel = half + 0.15 * _arch(u, -0.28, 0.24, 2)
    fan = half + 0.20 * _arch(u, 0.24, 0.14, 2)

    def soft(limit: Image) -> Image:
        return np.clip(limit * FISH_LENGTH / 4 + 0.5, 0, 1).astype(np.float32)

    trunk = soft(half - np.abs(v))
    below = soft(np.minimum(np.maximum(keel, fan) - v, v))
    return trunk, np.maximum.reduce([soft(tail - np.abs(v)), soft(np.minimum(back + v, -v)), below])


def _arch(u: Image, middle: float, reach: float, power: int) -> Image:
    """1 in the middle, falling to 0 at a distance of `reach`, the more abruptly the higher the power."""
    arch: Image = np.clip(1 - ((u - middle) / reach) ** power, 0, 1)
    return arch


def _fish_colours(u: Image, v: Image, body: Image) -> Image:
    """Paint the sides: body colour, three white bands with dark rims, breast fin, mouth and eye."""
    colour: Image = np.ones((*u.shape, 3), np.float32) * body
    dark = np.array([0.05, 0.04, 0.05], np.float32)

    def paint(mask: Image, tone: Image) -> None:
        share = np.clip(mask, 0, 1)[..., None]
        colour[...] = colour * (1 - share) + tone * share

    for middle, breadth, bend in ((0.46, 0.085, 0.55), (-0.06, 0.095, -0.45), (-0.60, 0.050, 0.0)):
        away = np.abs(u - middle + bend * v**2 - 0.03 * np.cos(11 * v))
        paint((breadth + 0.028 - away) * 90, dark)
        paint((breadth - away) * 90, np.array([0.96, 0.96, 0.93], np.float32))
    flap = np.hypot((u - 0.20) / 0.17, (v - 0.10) / 0.11)
    paint((1.0 - flap) * 14, dark)
    paint((0.88 - flap) * 14, body * 1.12 * (0.8 + 0.2 * np.sin(70 * v - 20 * u))[..., None])
    eye = np.hypot(u - 0.73, v + 0.075)
    paint((0.070 - eye) * 90, dark)
    paint((0.058 - eye) * 90, np.array([0.85, 0.55, 0.20], np.float32))
    paint((0.040 - eye) * 90, dark)
    paint((0.013 - np.hypot(u - 0.745, v + 0.095)) * 120, np.ones(3, np.float32))
    paint((0.012 - np.abs(v - 0.10 - 0.5 * (u - 0.95))) * 120 * (u > 0.87), dark)
    return colour


def _coral_heads(size: tuple[int, int], ridge: Image, rng: np.random.Generator) -> Image:
    """Height field of round coral heads strewn along and below the ridge."""
    width, height = size
    field = np.zeros((height, width), np.float32)
    grid_x, grid_y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    for _ in range(width // 14):
        x = rng.uniform(0, width)
        radius = rng.uniform(8, 34)
        y = ridge[int(x)] + rng.uniform(0, 0.45) * height
        box = np.s_[max(0, int(y - radius)) : int(y + radius) + 1, max(0, int(x - radius)) : int(x + radius) + 1]
        inside = 1 - ((grid_x[box] - x) ** 2 + (grid_y[box] - y) ** 2) / radius**2
        field[box] = np.maximum(field[box], radius * np.sqrt(np.clip(inside, 0, None)))
    return field


def _relief_light(heights: Image) -> Image:
    """Shade a height field (H, W) by light from above and the left."""
    slope_x = cv2.Sobel(heights, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(heights, cv2.CV_32F, 0, 1, scale=1 / 8)
    facing = (0.35 * slope_x + 0.8 * slope_y + 1.0) / np.sqrt(1 + slope_x**2 + slope_y**2)
    light: Image = np.clip(0.2 + 0.8 * facing, 0.12, 1.7)
    return light
