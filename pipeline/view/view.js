// The page's own script, run once when it is drawn: frames, playing, keys, and clicks on cards.
// `command` carries what Python has to do; the number in it makes two equal commands differ.
let commands = 0
const send = (words) => {
  play.active = false  // or the old clip's position would arrive after the new clip was opened
  command.value = `${++commands} ${words}`
}

if (matchMedia("(prefers-color-scheme: dark)").matches) send("dark")  // charts: style sheets don't reach into a canvas

// ---- one frame: numbers of `from`, beginning at `k`, become those of a picture
const fill = {
  texture: (from, k, to) => {
    for (let i = 0; i < to.length; i++, k += 3) to[i] = (255 << 24) | (from[k + 2] << 16) | (from[k + 1] << 8) | from[k]
  },
  change: (from, k, to) => { for (let i = 0; i < to.length; i++) to[i] = from[k + i] * change_step },
  depth: (from, k, to) => { for (let i = 0; i < to.length; i++) to[i] = from[k + i] * depth_step },
}

function draw() {
  const row = frames.get_array("position").indexOf(slider.value)
  if (row < 0) return  // another block, which Python is about to send
  slider.properties.title.change.emit()  // its text is made from `curves`, and it does not see them change
  for (const span of now) span.location = curves.get_array("number")[slider.value]
  if ("units" in curves.data) {
    const bars = units.data.now
    for (let i = 0; i < bars.length; i++) bars[i] = curves.data.units[slider.value * bars.length + i]
    units.change.emit()
  }
  for (const [name, source] of Object.entries(pictures)) {
    if (!(name in frames.data)) continue
    fill[name](frames.data[name], row * frames.data[name].length / frames.data.position.length, source.data.image[0])
    source.change.emit()
  }
}
slider.connect(slider.properties.value.change, draw)
frames.connect(frames.properties.data.change, draw)

gain.connect(gain.properties.value.change, () => {
  colours.setv({low: -grey_levels / gain.value, high: grey_levels / gain.value})
})

// ---- playing at the times of the frames; a clip starts again half a second after its end
let from = 0, started = 0, shown = 0

function begin(position) {
  from = curves.get_array("time")[position]
  started = performance.now()
}

function tick(at) {
  if (!play.active) return
  const times = curves.get_array("time")
  if (slider.value !== shown) begin(slider.value)  // moved by hand
  let time = from + (at - started) / 1000 * speeds[speed.value]
  if (time > times[times.length - 1] + 0.5 * speeds[speed.value]) { begin(0); time = times[0] }
  let position = 0
  while (position + 1 < times.length && times[position + 1] <= time) position++
  slider.value = shown = position
  requestAnimationFrame(tick)
}

play.connect(play.properties.active.change, () => {
  play.label = play.active ? "❚❚ pause (space)" : "▶ play (space)"
  if (!play.active) return
  shown = slider.value < slider.end ? slider.value : 0
  slider.value = shown
  begin(shown)
  requestAnimationFrame(tick)
})
speed.connect(speed.properties.value.change, () => begin(slider.value))

// ---- keys and clicks, also inside of the shadow trees of Bokeh's widgets
const clipped = (value) => Math.min(Math.max(value, slider.start), slider.end)
const keys = {
  ArrowLeft: () => { slider.value = clipped(slider.value - 1) },
  ArrowRight: () => { slider.value = clipped(slider.value + 1) },
  " ": () => { play.active = !play.active },
  n: () => send("next"),
  p: () => send("previous"),
}

document.addEventListener("keydown", (event) => {
  const control = event.composedPath()[0].closest?.("input, select, textarea, button, [role=slider]")
  const taken = control && (control.getAttribute("role") !== "slider" || event.key.startsWith("Arrow"))
  if (tabs.active !== 1 || taken || event.ctrlKey || event.metaKey || event.altKey) return
  const action = keys[event.key]
  if (action === undefined) return
  event.preventDefault()
  action()
})

document.addEventListener("click", (event) => {
  const card = event.composedPath().find((element) => element.dataset?.clip)
  if (card) send(`open ${card.dataset.clip}`)
  // After a click the keys are the page's again; who moves by Tab keeps the focus.
  const focused = event.composedPath()[0].closest?.("button, input[type=checkbox]")
  if (focused && event.detail > 0) focused.blur()
})
