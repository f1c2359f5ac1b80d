// What printed formulas need and JavaScript has not.

function copysign(size, of) {
  return of < 0 || Object.is(of, -0) ? -Math.abs(size) : Math.abs(size);
}

// The error function by its series of positive terms, which cancel nowhere; beyond 6 it is 1 to the last digit.
function erf(u) {
  const size = Math.abs(u);
  if (!(size < 6)) return u !== u ? u : Math.sign(u);
  const square = size * size;
  let term = size, sum = size;
  for (let n = 1; term > 1e-17 * sum; n++) {
    term *= square / (n + 0.5);
    sum += term;
  }
  return copysign(Math.min(2 / Math.sqrt(Math.PI) * Math.exp(-square) * sum, 1), u);
}
