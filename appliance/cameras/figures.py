"""The people and vehicles of the drawn street, seen from the side and facing right."""

import math

from appliance.cameras.drawing import Canvas, Colour, Point, Sprite, shade
from appliance.cameras.street import Actor

PHASES = 10  # pictures in a cycle of walking or pedalling

_SKIN = ((150, 175, 225), (105, 140, 195), (70, 95, 140), (45, 60, 95))
_HAIR = ((30, 35, 45), (40, 60, 95), (70, 120, 165), (120, 120, 120))
_TOPS = ((45, 45, 160), (150, 80, 35), (60, 60, 60), (215, 215, 210), (60, 110, 50), (40, 130, 200), (120, 60, 110))
_LEGWEAR = ((95, 60, 40), (45, 45, 45), (90, 110, 130), (60, 50, 45), (130, 90, 60))
_PAINTS = ((35, 35, 170), (140, 75, 30), (205, 205, 205), (60, 60, 62), (150, 150, 150), (235, 235, 235), (40, 85, 45))
_GLASS: Colour = (88, 80, 70)
_TYRE: Colour = (28, 28, 30)
_RIM: Colour = (175, 172, 170)
_BLACK: Colour = (22, 22, 24)


def phase_of(actor: Actor) -> int:
    """Give which of the PHASES pictures of its cycle shows `actor`; -1 for a figure that does not change."""
    if actor.label != "person" or actor.is_standing:
        return -1
    return int(actor.phase * PHASES)


def draw(actor: Actor, scale: float) -> Sprite:
    """Draw `actor` at `scale` pixels a metre. The picture depends on label, look, direction and `phase_of` only."""
    if actor.label == "person":
        canvas = _draw_rider(actor, scale) if actor.is_rider else _draw_walker(actor, scale)
    else:
        canvas = {"bicycle": _draw_bicycle, "car": _draw_car, "truck": _draw_truck, "bus": _draw_bus}[actor.label](
            actor.look, scale
        )
    return canvas.finish(actor.direction, actor.look)


def _clothes(look: int) -> tuple[Colour, Colour, Colour, Colour]:
    return (
        _SKIN[look % len(_SKIN)],
        _HAIR[look // 4 % len(_HAIR)],
        _TOPS[look // 16 % len(_TOPS)],
        _LEGWEAR[look // 112 % len(_LEGWEAR)],
    )


def _below(point: Point, length: float, angle: float) -> Point:
    """Give the end of a limb that hangs from `point`, swung forward by `angle` radians."""
    return point[0] + length * math.sin(angle), point[1] - length * math.cos(angle)


def _draw_walker(actor: Actor, scale: float) -> Canvas:
    skin, hair, top, legwear = _clothes(actor.look)
    tall = 1.58 + (actor.look >> 5) % 8 * 0.04
    canvas = Canvas(scale, (-0.62 * tall / 1.7, 0.62 * tall / 1.7, -0.12, tall + 0.05))
    canvas.shadow((0.02, 0.0), 0.3, 0.04)
    turn = 2 * math.pi * (phase_of(actor) + 0.5) / PHASES
    swing = 0.06 if actor.is_standing else 0.46
    hip, neck = (0.0, tall * (0.498 - 0.04 * swing * abs(math.sin(turn)))), (0.02, tall * 0.83)
    near, far = swing * math.sin(turn), -swing * math.sin(turn)
    lift = 0.0 if actor.is_standing else math.cos(turn)
    _draw_leg(canvas, hip, tall, shade(legwear, 0.62), swing=far, lift=max(0.0, -lift))
    _draw_arm(canvas, neck, tall, -far * 0.85, (shade(top, 0.6), shade(skin, 0.75)))
    _draw_leg(canvas, hip, tall, legwear, swing=near, lift=max(0.0, lift))
    canvas.limb(
        [(0.0, tall * 0.53), (-0.005, tall * 0.66), (0.01, tall * 0.785)],
        [tall * 0.135, tall * 0.13, tall * 0.125],
        top,
    )
    canvas.limb([(-0.03, tall * 0.6), (-0.02, tall * 0.78)], [tall * 0.05, tall * 0.06], shade(top, 1.2))
    if actor.look & 1024:
        canvas.limb([(-tall * 0.085, tall * 0.63), (-tall * 0.085, tall * 0.76)], [tall * 0.1] * 2, (50, 55, 75))
    _draw_arm(canvas, neck, tall, -near * 0.85, (shade(top, 0.85), skin))
    _draw_head(canvas, (0.035, tall * 0.925), tall, skin, hair)
    return canvas


def _draw_leg(canvas: Canvas, hip: Point, tall: float, colour: Colour, *, swing: float, lift: float) -> None:
    """Draw one leg; `lift` 0..1 bends the knee of the leg that swings forward."""
    knee = _below(hip, tall * 0.245, swing + 0.12 + 0.35 * lift)
    ankle = _below(knee, tall * 0.225, swing - 0.1 - 0.75 * lift)
    canvas.limb([hip, knee, ankle], [tall * 0.105, tall * 0.075, tall * 0.05], colour)
    toe = (ankle[0] + tall * 0.085, ankle[1] - tall * 0.03 + tall * 0.02 * lift)
    canvas.limb([(ankle[0] - 0.01, ankle[1] - tall * 0.02), toe], [tall * 0.045, tall * 0.032], (38, 38, 42))


def _draw_arm(canvas: Canvas, neck: Point, tall: float, swing: float, colours: tuple[Colour, Colour]) -> None:
    colour, skin = colours
    shoulder = (neck[0] - 0.015, neck[1] - tall * 0.035)
    elbow = _below(shoulder, tall * 0.17, swing)
    wrist = _below(elbow, tall * 0.14, swing + 0.3)
    canvas.limb([elbow, wrist], [tall * 0.042, tall * 0.036], shade(colour, 0.95))
    canvas.limb([shoulder, elbow], [tall * 0.062, tall * 0.048], colour)
    canvas.ellipse(_below(wrist, tall * 0.03, swing + 0.3), tall * 0.022, tall * 0.03, skin)


def _draw_head(canvas: Canvas, centre: Point, tall: float, skin: Colour, hair: Colour) -> None:
    x, y = centre
    canvas.limb(
        [(x - 0.02, y - tall * 0.1), (x - 0.01, y - tall * 0.03)], [tall * 0.055, tall * 0.05], shade(skin, 0.8)
    )
    canvas.ellipse((x - 0.012, y + tall * 0.008), tall * 0.056, tall * 0.066, hair, 10)
    canvas.ellipse((x + 0.014, y - tall * 0.008), tall * 0.042, tall * 0.056, skin, 8)
    canvas.ellipse((x + tall * 0.035, y - tall * 0.008), tall * 0.014, tall * 0.014, skin)
    canvas.ellipse((x - 0.002, y + tall * 0.044), tall * 0.046, tall * 0.026, hair, -12)
    canvas.ellipse((x - 0.004, y - tall * 0.008), tall * 0.01, tall * 0.015, shade(skin, 0.78))


def _draw_bicycle(look: int, scale: float) -> Canvas:
    paint = _PAINTS[look % len(_PAINTS)]
    canvas = Canvas(scale, (-0.95, 0.95, -0.12, 1.15))
    canvas.shadow((0.0, 0.0), 0.85, 0.05)
    back, front, radius = (-0.53, 0.34), (0.53, 0.34), 0.33
    for hub in (back, front):
        canvas.ring(hub, radius, 0.06, _TYRE)
        canvas.ring(hub, radius - 0.035, 0.015, _RIM)
        for spoke in range(8):
            turn = math.pi * spoke / 8
            x, y = radius * math.cos(turn), radius * math.sin(turn)
            canvas.limb([(hub[0] - x, hub[1] - y), (hub[0] + x, hub[1] + y)], [0.012] * 2, (70, 70, 72))
        canvas.ellipse(hub, 0.035, 0.035, (70, 70, 70))
    crank, seat, head = (-0.08, 0.3), (-0.22, 0.86), (0.4, 0.84)
    for tube in (
        [back, crank],
        [back, (-0.2, 0.78)],
        [crank, seat],
        [crank, head],
        [(-0.2, 0.78), head],
        [head, front],
    ):
        canvas.limb(tube, [0.055] * 2, paint)
    canvas.limb([(-0.34, 0.9), (-0.1, 0.9)], [0.07, 0.04], _BLACK)
    canvas.limb([head, (0.38, 0.98), (0.5, 1.0)], [0.035] * 3, (60, 60, 60))
    canvas.ring(crank, 0.085, 0.035, (50, 50, 50))
    return canvas


def _draw_rider(actor: Actor, scale: float) -> Canvas:
    skin, hair, top, legwear = _clothes(actor.look)
    canvas = Canvas(scale, (-0.62, 0.75, -0.01, 1.78))
    turn = -2 * math.pi * (phase_of(actor) + 0.5) / PHASES
    hip, shoulder = (-0.22, 0.95), (0.12, 1.42)
    for side, light in ((math.pi, 0.62), (0.0, 1.0)):
        pedal = (-0.08 + 0.17 * math.cos(turn + side), 0.3 + 0.17 * math.sin(turn + side))
        knee = _knee(hip, pedal, 0.44, 0.44)
        canvas.limb([hip, knee, pedal], [0.18, 0.13, 0.09], shade(legwear, light))
        canvas.limb(
            [(pedal[0] - 0.05, pedal[1] - 0.02), (pedal[0] + 0.13, pedal[1] - 0.03)], [0.07, 0.05], (38, 38, 42)
        )
    canvas.limb([hip, (-0.06, 1.2), shoulder], [0.23, 0.23, 0.21], top)
    canvas.limb([(0.1, 1.38), (0.28, 1.18), (0.47, 1.03)], [0.1, 0.08, 0.06], shade(top, 0.8))
    canvas.ellipse((0.49, 1.02), 0.04, 0.035, skin)
    _draw_head(canvas, (0.22, 1.62), 1.7, skin, hair)
    return canvas


def _knee(hip: Point, foot: Point, thigh: float, shin: float) -> Point:
    """Give where the knee is, in front of the line from hip to foot (law of cosines)."""
    across, up = foot[0] - hip[0], foot[1] - hip[1]
    distance = min(math.hypot(across, up), thigh + shin - 1e-3)
    bend = math.acos((thigh**2 + distance**2 - shin**2) / (2 * thigh * distance))
    angle = math.atan2(up, across) + bend
    return hip[0] + thigh * math.cos(angle), hip[1] + thigh * math.sin(angle)


def _draw_wheel(canvas: Canvas, x: float, radius: float) -> None:
    canvas.ellipse((x, radius), radius, radius, _TYRE)
    canvas.ellipse((x, radius), radius * 0.66, radius * 0.66, _RIM)
    for spoke in range(5):
        turn = 2 * math.pi * spoke / 5 + 0.3
        hole = (x + radius * 0.42 * math.cos(turn), radius + radius * 0.42 * math.sin(turn))
        canvas.ellipse(hole, radius * 0.14, radius * 0.14, (75, 74, 73))
    canvas.ellipse((x, radius), radius * 0.12, radius * 0.12, (90, 90, 90))


def _draw_car(look: int, scale: float) -> Canvas:
    paint = _PAINTS[look % len(_PAINTS)]
    canvas = Canvas(scale, (-2.3, 2.3, -0.22, 1.6))
    canvas.shadow((0.0, 0.02), 2.15, 0.17)
    is_estate = bool(look & 64)
    back_roof = (
        [(-2.02, 1.0), (-1.82, 1.4), (-1.2, 1.47)] if is_estate else [(-2.0, 0.98), (-1.45, 1.04), (-0.85, 1.42)]
    )
    nose = [(2.08, 0.7), (2.12, 0.42), (2.0, 0.27), (-2.0, 0.27)]
    canvas.polygon([(-2.0, 0.2), (1.95, 0.2), (1.9, 0.5), (-1.95, 0.5)], _BLACK)
    canvas.polygon(
        [(-2.1, 0.36), (-2.12, 0.75), *back_roof, (0.1, 1.46), (0.42, 1.36), (1.05, 0.97), (1.82, 0.86), *nose],
        paint,
    )
    canvas.polygon([(-2.08, 0.7), (2.04, 0.66), (1.98, 0.6), (-2.08, 0.62)], shade(paint, 0.72))
    canvas.polygon([(-2.08, 0.38), (2.08, 0.38), (2.0, 0.27), (-2.0, 0.27)], shade(paint, 0.45))
    canvas.polygon([(-2.02, 0.9), (1.0, 0.93), (1.75, 0.84), (1.0, 0.88), (-2.04, 0.86)], shade(paint, 1.3))
    rear_edge = [(-1.72, 1.0), (-1.62, 1.32)] if is_estate else [(-1.22, 1.02), (-0.72, 1.34)]
    canvas.polygon([*rear_edge, (0.06, 1.37), (0.34, 1.3), (0.88, 0.97)], _GLASS)
    canvas.polygon([(-0.6, 1.32), (-0.1, 1.36), (-0.5, 1.0), (-1.0, 1.0)], shade(_GLASS, 1.6))
    canvas.polygon([(0.25, 1.3), (0.34, 1.28), (0.7, 1.05), (0.55, 1.02)], shade(_GLASS, 1.7))
    for pillar in ([-0.28, -0.36], [-1.3, -1.42] if is_estate else [-1.02, -0.98]):
        canvas.limb([(pillar[0], 1.37), (pillar[1], 0.98)], [0.07, 0.08], shade(paint, 0.5))
    canvas.limb([(0.12, 0.97), (0.16, 1.0)], [0.1, 0.13], shade(paint, 0.85))
    for door in (-0.33, 0.62, -1.15):
        canvas.limb([(door, 0.96), (door + 0.02, 0.34)], [0.018] * 2, shade(paint, 0.4))
    for handle in (-0.62, 0.25):
        canvas.limb([(handle - 0.4, 0.8), (handle - 0.26, 0.8)], [0.035] * 2, shade(paint, 0.55))
    canvas.polygon([(1.85, 0.8), (2.06, 0.7), (2.04, 0.6), (1.78, 0.68)], (225, 235, 240))
    canvas.polygon([(-2.11, 0.92), (-1.95, 0.93), (-1.93, 0.72), (-2.12, 0.7)], (40, 35, 190))
    for axle in (-1.28, 1.32):
        canvas.ellipse((axle, 0.36), 0.4, 0.4, _BLACK)
        _draw_wheel(canvas, axle, 0.32)
    return canvas


def _draw_truck(look: int, scale: float) -> Canvas:
    paint = _PAINTS[look % len(_PAINTS)]
    load = ((225, 225, 222), (170, 150, 120), (200, 205, 215))[look // 8 % 3]
    canvas = Canvas(scale, (-3.85, 3.85, -0.3, 3.45))
    canvas.shadow((0.0, 0.02), 3.65, 0.24)
    canvas.polygon([(-3.6, 0.5), (3.4, 0.5), (3.4, 0.95), (-3.6, 0.95)], (45, 45, 48))
    canvas.polygon([(-3.7, 0.95), (1.65, 0.95), (1.65, 3.3), (-3.7, 3.3)], load)
    canvas.polygon([(-3.7, 3.14), (1.65, 3.14), (1.65, 3.3), (-3.7, 3.3)], shade(load, 1.12))
    canvas.polygon([(-3.7, 0.95), (1.65, 0.95), (1.65, 1.12), (-3.7, 1.12)], shade(load, 0.6))
    for seam in range(1, 6):
        x = -3.7 + seam * 5.35 / 6
        canvas.limb([(x, 1.1), (x, 3.15)], [0.025] * 2, shade(load, 0.82))
    canvas.polygon([(-2.8, 1.8), (0.7, 1.8), (0.7, 2.35), (-2.8, 2.35)], shade(paint, 0.9))
    canvas.polygon([(1.8, 0.45), (1.8, 2.6), (2.2, 2.72), (3.0, 2.68), (3.55, 1.7), (3.68, 1.5), (3.7, 0.45)], paint)
    canvas.polygon([(2.15, 1.62), (2.15, 2.4), (2.85, 2.38), (3.25, 1.62)], _GLASS)
    canvas.polygon([(2.35, 1.66), (2.55, 2.38), (2.7, 2.38), (2.6, 1.66)], shade(_GLASS, 1.6))
    canvas.polygon([(3.36, 1.68), (3.02, 2.4), (3.1, 2.4), (3.52, 1.7)], shade(_GLASS, 1.3))
    canvas.limb([(2.08, 2.45), (2.08, 0.75)], [0.03] * 2, shade(paint, 0.45))
    canvas.limb([(3.3, 1.6), (3.28, 0.85)], [0.03] * 2, shade(paint, 0.45))
    canvas.limb([(3.42, 2.0), (3.42, 1.6)], [0.13] * 2, _BLACK)
    canvas.polygon([(1.8, 0.45), (3.7, 0.45), (3.72, 0.7), (1.8, 0.7)], shade(paint, 0.5))
    canvas.polygon([(3.5, 0.78), (3.7, 0.78), (3.7, 1.0), (3.5, 1.0)], (225, 235, 240))
    for axle in (-2.75, -1.75, 2.6):
        canvas.ellipse((axle, 0.52), 0.58, 0.56, _BLACK)
        _draw_wheel(canvas, axle, 0.48)
    return canvas


def _draw_bus(look: int, scale: float) -> Canvas:
    paint = ((40, 40, 185), (60, 130, 215), (150, 95, 40), (70, 150, 70))[look % 4]
    canvas = Canvas(scale, (-5.4, 5.4, -0.3, 3.2))
    canvas.shadow((0.0, 0.02), 5.15, 0.26)
    canvas.polygon([(-5.2, 0.32), (-5.25, 2.85), (-5.05, 3.05), (4.95, 3.05), (5.2, 2.8), (5.25, 0.32)], paint)
    canvas.polygon([(-5.1, 2.9), (-5.0, 3.05), (4.95, 3.05), (5.1, 2.9)], shade(paint, 1.35))
    canvas.polygon([(-5.2, 0.32), (5.25, 0.32), (5.25, 0.58), (-5.2, 0.58)], shade(paint, 0.45))
    canvas.polygon([(-5.22, 1.02), (5.23, 1.02), (5.23, 1.2), (-5.22, 1.2)], (225, 225, 225))
    canvas.polygon([(-5.1, 1.45), (4.9, 1.45), (4.9, 2.55), (-5.1, 2.55)], _BLACK)
    for window in range(7):
        left = -5.0 + window * 1.18
        canvas.polygon([(left, 1.52), (left + 1.06, 1.52), (left + 1.06, 2.48), (left, 2.48)], _GLASS)
        canvas.polygon(
            [(left + 0.2, 1.52), (left + 0.5, 1.52), (left + 0.8, 2.48), (left + 0.5, 2.48)], shade(_GLASS, 1.5)
        )
    for door in (3.3, -0.75):
        canvas.polygon([(door, 0.42), (door + 1.1, 0.42), (door + 1.1, 2.6), (door, 2.6)], _BLACK)
        for leaf in (0.06, 0.59):
            canvas.polygon(
                [(door + leaf, 0.55), (door + leaf + 0.46, 0.55), (door + leaf + 0.46, 2.5), (door + leaf, 2.5)],
                shade(_GLASS, 1.25),
            )
    canvas.polygon([(4.62, 1.35), (5.22, 1.35), (5.16, 2.65), (4.62, 2.65)], shade(_GLASS, 1.15))
    canvas.polygon([(2.0, 2.63), (4.4, 2.63), (4.4, 2.86), (2.0, 2.86)], (30, 120, 200))
    canvas.polygon([(5.05, 0.7), (5.25, 0.7), (5.25, 0.95), (5.05, 0.95)], (225, 235, 240))
    canvas.polygon([(-5.22, 0.75), (-5.1, 0.75), (-5.1, 1.3), (-5.22, 1.3)], (40, 35, 190))
    for axle in (-3.35, 2.6):
        canvas.ellipse((axle, 0.5), 0.58, 0.56, _BLACK)
        _draw_wheel(canvas, axle, 0.48)
    return canvas
