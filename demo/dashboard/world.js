// The outline of the world: TopoJSON to GeoJSON, for the one object that it has.

/** Land as a GeoJSON feature collection; no polygon crosses the date line. */
export function land({ arcs, objects, transform: { scale, translate } }) {
  // An arc is a list of steps from one point to the next, in whole units.
  const lines = arcs.map((arc) => {
    let [x, y] = [0, 0];
    return arc.map(([dx, dy]) => [(x += dx) * scale[0] + translate[0], (y += dy) * scale[1] + translate[1]]);
  });
  // Below 0 it is the complement's arc, backwards; each begins where the last one ended.
  const ring = (indices) => indices.flatMap((index, n) => (index < 0 ? [...lines[~index]].reverse() : lines[index]).slice(n ? 1 : 0));
  const polygons = objects.land.geometries.flatMap((geometry) => (geometry.type === "MultiPolygon" ? geometry.arcs : [geometry.arcs]));
  const coordinates = polygons.flatMap((polygon) => split(polygon.map(ring)));
  return { type: "FeatureCollection", features: [{ type: "Feature", properties: { name: "land" }, geometry: { type: "MultiPolygon", coordinates } }] };
}

/** A polygon in one piece, or cut at the date line: drawn on a flat map, a line from 180° to -180° would cross all of it. */
function split([outer, ...holes]) {
  let turns = 0;
  const whole = outer.map(([x, y], n) => {
    const step = n ? x - outer[n - 1][0] : 0;
    if (Math.abs(step) > 180) turns -= Math.sign(step) * 360;
    return [x + turns, y];
  });
  const xs = whole.map(([x]) => x);
  const [least, most] = [Math.min(...xs), Math.max(...xs)];
  // Around the pole there is nothing to cut: it is open on both sides.
  if (most - least > 359 || (least >= -180 && most <= 180)) return [[outer, ...holes]];
  const pieces = [];
  for (const shift of [-360, 0, 360]) {
    const moved = whole.map(([x, y]) => [x + shift, y]);
    const piece = keep(keep(moved, -180, 1), 180, -1);
    if (piece.length > 3) pieces.push([piece, ...(shift === 0 ? holes : [])]);
  }
  return pieces;
}

/** The part of a ring on one side of a meridian: `side` 1 is east of it, -1 west. */
function keep(ring, meridian, side) {
  const inside = ([x]) => side * (x - meridian) >= 0;
  return ring.flatMap((point, n) => {
    const before = ring[(n + ring.length - 1) % ring.length];
    const part = (meridian - before[0]) / (point[0] - before[0]);
    const crossing = inside(point) === inside(before) ? [] : [[meridian, before[1] + part * (point[1] - before[1])]];
    return inside(point) ? [...crossing, point] : crossing;
  });
}
