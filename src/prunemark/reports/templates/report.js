// Replaces each static drawing by a live chart that fits the page's width and colours. Without this script the drawings stay.
const dark = matchMedia("(prefers-color-scheme: dark)");
const onDark = JSON.parse(document.getElementById("on-dark").textContent);
const AXIS = 72, LEGEND = 200, GAP = 24, NARROW = 680;

function fitted(text, width) {
  const spec = JSON.parse(text, (_, value) =>
    dark.matches && typeof value === "string" && Object.hasOwn(onDark, value) ? onDark[value] : value);
  delete spec.title; // the page has it as a heading
  spec.config.padding = 2;
  spec.config.font = getComputedStyle(document.body).fontFamily;
  const narrow = width < NARROW;
  spec.config.legend.labelLimit = LEGEND - 25;
  if (narrow && spec.usermeta) inLegend(spec);
  if (narrow) Object.assign(spec.config.legend, { orient: "bottom", columns: width < 420 ? 1 : 2 });
  const room = width - AXIS - (narrow ? 0 : LEGEND);
  if (spec.concat) {
    spec.columns = Math.max(1, Math.min(spec.columns, Math.floor((room + GAP) / (160 + AXIS))));
    for (const panel of spec.concat) panel.width = Math.max(150, Math.floor(room / spec.columns) - (spec.columns > 1 ? AXIS : 0));
    return spec;
  }
  if (!spec.facet) {
    spec.width = Math.max(room, 200);
    if (narrow) spec.height = Math.min(spec.height, 300);
    return spec;
  }
  spec.columns = Math.max(1, Math.min(spec.columns, Math.floor((room + GAP) / (200 + GAP))));
  spec.spec.width = Math.max(160, Math.floor((room - GAP * (spec.columns - 1)) / spec.columns));
  spec.config.header.labelLimit = spec.spec.width;
  return spec;
}

// Names beside the plot take a third of a narrow page: a legend below it takes their place.
function inLegend(spec) {
  spec.layer = spec.layer.filter((layer) => !layer.name?.startsWith("line-ends"));
  for (const { encoding } of spec.layer) {
    for (const channel of ["color", "strokeDash", "shape"]) {
      if (encoding[channel]?.legend === null) encoding[channel].legend = spec.usermeta.legend;
    }
  }
}

async function show(figure) {
  const live = figure.querySelector(".live");
  const width = figure.clientWidth;
  // With a syntax tree Vega interprets expressions: the page's policy forbids making functions of text.
  const options = { ast: true, renderer: "svg", actions: false, tooltip: { theme: dark.matches ? "dark" : "light" } };
  figure.view?.finalize();
  live.hidden = false;
  figure.view = await window.vegaEmbed(live, fitted(figure.querySelector(".chart").textContent, width), options);
  // The description says what the chart shows; its marks one by one would drown it.
  live.setAttribute("role", "img");
  live.setAttribute("aria-label", figure.querySelector("img").alt);
  live.tabIndex = 0; // it scrolls where the page is narrow
  for (const part of live.children) part.setAttribute("aria-hidden", "true");
  figure.shownWidth = width;
  figure.classList.add("shown");
}

let waiting;
function refresh(all) {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    for (const figure of document.querySelectorAll("figure")) {
      if (all || Math.abs(figure.clientWidth - (figure.shownWidth ?? 0)) > 4) {
        show(figure).catch((error) => {
          figure.classList.remove("shown");
          figure.querySelector(".live").hidden = true;
          console.error(error);
        });
      }
    }
  }, 60);
}

refresh(true);
addEventListener("resize", () => refresh(false));
dark.addEventListener("change", () => refresh(true));
addEventListener("beforeprint", () => document.querySelectorAll("details.claim").forEach((one) => { one.open = true; }));
