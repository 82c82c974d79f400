// Drawing tools of the lab's other files: the page's colours, and sharp canvases.

export const FONT = "16px sans-serif"; // legible from the last row

export const colors = {}; // of the style sheet, by their names there; for canvases, which know no style sheet

function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "quiet", "rule", "run", "handler", "write", "lane", "waits", "cursor", "stop", "well"]) {
    colors[name] = style.getPropertyValue(`--${name}`).trim();
  }
  colors.columns = [0, 1, 2, 3, 4, 5].map((i) => style.getPropertyValue(`--column-${i}`).trim());
}

readColors();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColors);

// A canvas of as many pixels as the screen has for it, and what draws on it.
export function fit(canvas, height) {
  const ratio = Math.min(2, devicePixelRatio || 1);
  const width = canvas.clientWidth;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width };
}
