"""Strongly connected components of a graph, for loops in flow and circles in schemas."""

from __future__ import annotations


def components(next_of: list[list[int]]) -> list[int]:
    """Strongly connected components (Tarjan, without recursion).

    The number of a component is higher than those of all components it leads to.
    """
    count = len(next_of)
    order, low = [-1] * count, [0] * count
    component = [-1] * count
    stack: list[int] = []
    clock = number = 0
    for root in range(count):
        if order[root] >= 0:
            continue
        work: list[tuple[int, int]] = [(root, 0)]
        while work:
            node, child = work.pop()
            if child == 0:
                order[node] = low[node] = clock
                clock += 1
                stack.append(node)
            else:
                low[node] = min(low[node], low[next_of[node][child - 1]])
            for offset in range(child, len(next_of[node])):
                target = next_of[node][offset]
                if order[target] < 0:
                    work.extend(((node, offset + 1), (target, 0)))
                    break
                if component[target] < 0:
                    low[node] = min(low[node], order[target])
            else:
                if low[node] == order[node]:
                    while True:
                        member = stack.pop()
                        component[member] = number
                        if member == node:
                            break
                    number += 1
    return component
