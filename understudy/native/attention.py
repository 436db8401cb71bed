"""Attention of the new tokens to what is cached before them, one head of one sequence at a time."""
# mypy: allow-untyped-defs

from understudy.native.kv_cache import append, mix_bytes, mix_floats, mix_halves, score_floats, score_packed
from understudy.native.layout import ROWS
from understudy.native.matmul import sequence
from understudy.native.pointwise import F, copy, exponential, native, rms_norm, rotate
from understudy.native.vectors import LANES, add, get_integer, larger, largest, load, mul, put, splat, store, sub, total
from understudy.native.work_sharing import OPENING, bounds, close, cut, may_write, opened, overdue, take, written


@native
def _softmax(address, count, scale):
    """Replace each x by e^(scale · (x − max x)); return the sum of the results."""
    for at in range(count, (count + LANES - 1) // LANES * LANES):
        put(address + F * at, -1e30)
    peak = splat(-1e30)
    for at in range(0, count, LANES):
        peak = larger(peak, load(address + F * at))
    peak = splat(largest(peak))
    sums = splat(0.0)
    for at in range(0, count, LANES):
        x = exponential(mul(sub(load(address + F * at), peak), splat(scale)))
        store(address + F * at, x)
        sums = add(sums, x)
    # The padding adds e^-87 per number, far below the precision of a float32 sum of at least 1.
    return total(sums)


@native
def _append_head(p, layer, row, head):
    """Prepare one head's query and key in place, and append its key and value to the cache."""
    size = p.head_size
    q = p.wide.address + row * p.wide.stride + F * head * size
    k, v = q + F * p.width, q + 2 * F * p.width
    position = get_integer(p.lengths + 8 * row)
    if p.qk_norm:
        rms_norm(q, q, size)
        rms_norm(k, k, size)
    if p.cosine != 0:
        turn = F * size * position
        rotate(q, p.cosine + turn, p.sine + turn, size)
        rotate(k, p.cosine + turn, p.sine + turn, size)
    append(p, layer, sequence(p, row) * p.heads + head, position, k, v)


@native
def _attend_head(p, layer, thread, row, head, to):
    """Write to `to` what one head's query attends to."""
    # The query's products with all keys so far
    size, place = p.head_size, sequence(p, row) * p.heads + head
    q = p.wide.address + row * p.wide.stride + F * head * size
    # A thread that is late, of a step that is over, must not look beyond the cache.
    count = min(get_integer(p.lengths + 8 * row) + 1, p.slots)
    query, weights = p.queries + thread * p.queries_stride, p.weights + thread * p.weights_stride
    whole, packed = place * p.slots * F * size, place * ((p.slots + ROWS - 1) // ROWS * ROWS)
    keys, values = layer.packed_keys + packed * p.packed_stride, layer.packed_values + packed * p.packed_stride
    if p.format == 0:
        score_floats(p, q, layer.keys + whole, count, weights)
    else:
        score_packed(p, q, keys, layer.key_scales + F * packed, layer.key_offsets + F * packed, count, weights, query)

    # The mean of the values, weighted by their softmax
    scale = 1.0 / _softmax(weights, count, size**-0.5)
    if p.format == 0:
        mix_floats(layer.values + whole, F * size, weights, count, to, size, scale)
    elif p.format == 1:
        mix_halves(values, p.packed_stride, weights, count, to, size, scale)
    else:
        mix_bytes(values, p.packed_stride, layer.value_scales + F * packed, weights, count, to, size, scale)


@native
def attend(p, layer, thread, control, phase):
    """Take this thread's share of the heads. Returns True for the thread that must begin the next phase."""
    # An item of work is one head's tokens of one group. All groups of a head come before the next head, so that threads
    # have equal shares of long and short groups. What is read here is of this step also for a thread that is late.
    batch, groups, heads = p.batch, p.groups, p.heads
    size, room, seen = F * p.head_size, F * (p.head_size + LANES), 0
    for row in range(batch):
        seen += get_integer(p.lengths + 8 * row) + 1
    part = 2 * size * seen // groups
    sharing, halves = cut(groups * heads, part, p.threads)
    results = p.scratch + thread * p.scratch_stride
    while True:
        piece = take(control, phase, thread, sharing, halves, OPENING)
        is_mine = piece >= 0
        if not is_mine:
            piece = overdue(control, phase, thread, groups * heads, part, sharing, halves)
            if piece < 0:
                return close(control, phase, sharing, halves)
        first, end = bounds(piece, groups * heads, sharing, halves)
        # From items to tokens, all of a head before the next head
        first = first // groups * batch + get_integer(p.firsts + 8 * (first % groups))
        end = min(end // groups * batch + get_integer(p.firsts + 8 * (end % groups)), heads * batch)
        if is_mine:
            for at in range(first, end):
                _append_head(p, layer, at % batch, at // batch)
            opened(control, phase, piece)
        for at in range(first, end):
            _attend_head(p, layer, thread, at % batch, at // batch, results + (at - first) * room)

        if may_write(control, phase, piece):
            for at in range(first, end):
                to = p.mixed.address + at % batch * p.mixed.stride + at // batch * size
                copy(results + (at - first) * room, to, p.head_size)
            written(control, phase, piece)
