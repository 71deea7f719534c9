// @ts-check
// Lines between the steps of a graph, as SVG paths.

/** @typedef {{x: number, y: number}} Point */

const CORNER = 10;

/** A line from left to right that leaves and enters every point level. @param {Point[]} points */
export const smooth = (points) => {
  let path = `M${points[0].x} ${points[0].y}`;
  for (let index = 1; index < points.length; index += 1) {
    const from = points[index - 1], to = points[index];
    const middle = (from.x + to.x) / 2;
    path += ` C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}`;
  }
  return path;
};

/** Down, back beneath everything, and up again, with round corners. @param {Point} from @param {Point} to @param {number} y */
export const roundedLoop = (from, to, y) => {
  const side = to.x < from.x ? -1 : 1;
  return (
    `M${from.x} ${from.y} V${y - CORNER} Q${from.x} ${y} ${from.x + side * CORNER} ${y} ` +
    `H${to.x - side * CORNER} Q${to.x} ${y} ${to.x} ${y - CORNER} L${to.x} ${to.y}`
  );
};
