// The outline of the world: TopoJSON to GeoJSON, for the one object that it has.

/** Land as a GeoJSON feature collection. */
export function land({ arcs, objects, transform: { scale, translate } }) {
  // An arc is a list of steps from one point to the next, in whole units.
  const lines = arcs.map((arc) => {
    let [x, y] = [0, 0];
    return arc.map(([dx, dy]) => [(x += dx) * scale[0] + translate[0], (y += dy) * scale[1] + translate[1]]);
  });
  // Below 0 it is the complement's arc, backwards; each begins where the last one ended.
  const ring = (indices) => indices.flatMap((index, n) => (index < 0 ? [...lines[~index]].reverse() : lines[index]).slice(n ? 1 : 0));
  const features = objects.land.geometries.map((geometry) => ({
    type: "Feature",
    properties: { name: "land" },
    geometry: { type: geometry.type, coordinates: geometry.arcs.map((polygon) => (geometry.type === "MultiPolygon" ? polygon.map(ring) : ring(polygon))) },
  }));
  return { type: "FeatureCollection", features };
}
