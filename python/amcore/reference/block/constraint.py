"""The inequality constraint |a − h(z)| ≤ ε, entry by entry in the (a, z) plane."""

from __future__ import annotations

import numpy as np

from amcore.reference.operator import Activation, Array, wide

# An entry is on a face of the constraint if it is within so many units of rounding of it.
FACE = 32
# An end of an interval that misses the constraint by rounding is moved inwards by so many units.
TRIES = 0, 2, 4, 8, 16


def bounds(h: Array, epsilon: float) -> tuple[Array, Array]:
    """Least and largest a with |a − h| ≤ ε as it is computed in the dtype of h."""
    eps = np.finfo(h.dtype).eps
    low, high = h - epsilon, h + epsilon
    low = np.where(h - low > epsilon, np.minimum(low + eps * np.abs(low), h), low)
    high = np.where(high - h > epsilon, np.maximum(high - eps * np.abs(high), h), high)
    return low, high


def constrained_update(
    activation: Activation, a: Array, P: Array, z: Array, epsilon: float
) -> Array:
    """Return argmin ‖· − P‖² over {z : |a − h(z)| ≤ ε}, h monotone: P clipped to an interval.

    `z` is the old value, which satisfies the constraint; so does the new one, as it is computed
    with this h. Where P does not, the end of the interval is h⁻¹(a ± ε), moved inwards by rounding
    if need be; the old value is kept where no such point is found, because ε is below the rounding
    of a or h is flat to rounding.

    Source: Wang, Li, Zhao (Neurocomputing 2022), Algorithm 1; the rounding is our own.
    """
    value = activation.value(P)
    outside = np.abs(a - value) > epsilon
    inwards = np.where(value > a, -1, 1).astype(P.dtype)
    target = a - inwards * epsilon
    new, open_ = np.where(outside, z, P), outside
    lower, upper = np.minimum(z, P), np.maximum(z, P)
    for units in TRIES:
        few = units * np.finfo(P.dtype).eps
        end = activation.inverse(target + inwards * (few * (np.abs(a) + epsilon)))
        end = np.clip(end + inwards * (few * np.abs(end)), lower, upper)
        found = open_ & (np.abs(a - activation.value(end)) <= epsilon)
        new, open_ = np.where(found, end, new), open_ & ~found
    return new


def constraint_distance(
    activation: Activation, a: Array, z: Array, gradient_a: Array, gradient_z: Array, epsilon: float
) -> Array:
    """Distance of −(gradient_a, gradient_z) to the normal cone of |a − h(z)| ≤ ε, by entries.

    With the one-sided derivatives l and r of h at z, the cone is {0} in the interior; on the upper
    face a = h(z) + ε it is spanned by (1, −l) and (1, −r), the two rays where the kink is convex,
    l < r (the corner of the set is reentrant), and all between them where it is concave; on the
    lower face by (−1, l) and (−1, r), with convex and concave exchanged. Where rounding cannot tell
    the faces from each other the nearer cone counts.
    """
    a, h = wide(a), wide(activation.value(z))
    left, right = (wide(activation.derivative(z, side)) for side in ("left", "right"))
    rounding = FACE * np.finfo(z.dtype).eps * (np.abs(h) + epsilon)
    along, across = -wide(gradient_a), -wide(gradient_z)
    distance = np.hypot(along, across)
    for sign in (1, -1):
        x, y = sign * along, sign * across
        apart = np.minimum(_ray_distance(x, y, left), _ray_distance(x, y, right))
        low, high = np.minimum(left, right), np.maximum(left, right)
        convex = left > right if sign == 1 else left < right
        inside = convex & (x >= 0) & (y <= -low * x) & (y >= -high * x)
        on_face = sign * (a - h) >= epsilon - rounding
        distance = np.where(on_face, np.minimum(distance, np.where(inside, 0, apart)), distance)
    return distance


def _ray_distance(x: Array, y: Array, slope: Array) -> Array:
    """Distance of (x, y) to the ray of (1, −slope)."""
    length = np.hypot(1, slope)
    ahead = x - slope * y > 0
    return np.where(ahead, np.abs(slope * x + y) / length, np.hypot(x, y))
