// SPDX-License-Identifier: MIT
//
// main.js - the page of hmm-sim --html: pick a trace and a scale, hover, hide and show policies
import "uplot/dist/uPlot.min.css";
import "./style.css";
import { clearCursor, drawCurves, stepCursor } from "./chart.js";
import { assignColours } from "./colours.js";
import { count, describePoint, pointAt, readResults } from "./data.js";
import { listPolicies } from "./legend.js";

const byId = (id) => document.getElementById(id);
const traces = readResults(byId("results"));
const colours = assignColours(traces);
const hidden = new Set(); // policies, by name: they stay hidden when another trace is picked
const state = { trace: traces[0], logarithmic: true, near: null, plot: null, legend: null };

function showPoint(point) {
	const box = byId("point");
	box.hidden = point === null;
	if (point === null) return;
	const curve = state.trace.curves[point.curve];
	box.textContent = describePoint(state.trace, curve, pointAt(curve, point.frames)).join("\n");
	// Beside the point, on the side where there is room.
	const over = state.plot.over.getBoundingClientRect();
	const ground = box.offsetParent.getBoundingClientRect();
	const left = over.left - ground.left + point.left;
	const right = left + 14 + box.offsetWidth <= over.right - ground.left;
	box.style.left = `${right ? left + 14 : left - 14 - box.offsetWidth}px`;
	box.style.top = `${Math.max(0, over.top - ground.top + point.top - box.offsetHeight - 10)}px`;
}

function hover(point, frames) {
	state.near = point?.curve ?? state.near;
	byId("at").textContent = frames === null ? "Policies" : `At ${count.format(frames)} frames`;
	state.legend.setValues(frames, point?.curve ?? null);
	showPoint(point);
}

function setShown(c, shown) {
	const { policy } = state.trace.curves[c];
	if (shown) hidden.delete(policy);
	else hidden.add(policy);
	state.legend.setShown(c, shown);
	state.plot.setSeries(c + 1, { show: shown });
}

function setAllShown(shown) {
	state.plot.batch(() => state.trace.curves.forEach((curve, c) => setShown(c, shown)));
}

function draw() {
	const { trace } = state;
	const looks = trace.curves.map((curve) => colours.get(curve.policy));
	const shown = trace.curves.map((curve) => !hidden.has(curve.policy));
	state.plot?.destroy();
	state.near = null;
	state.legend = listPolicies(byId("policies"), trace, { looks, shown, onToggle: setShown });
	state.plot = drawCurves(byId("chart"), trace, { looks, shown, logarithmic: state.logarithmic, onHover: hover });
	byId("about").textContent =
		`${trace.name}: ${count.format(trace.requests)} requests of ${count.format(trace.unique)} different pages`;
	hover(null, null);
}

function listen() {
	byId("trace").append(...traces.map((trace) => new Option(trace.name)));
	byId("trace").addEventListener("change", (event) => {
		state.trace = traces[event.target.selectedIndex];
		draw();
	});
	byId("controls").addEventListener("change", (event) => {
		if (event.target.name !== "scale") return;
		state.logarithmic = event.target.value === "log";
		draw();
	});
	byId("whole").addEventListener("click", draw);
	byId("all").addEventListener("click", () => setAllShown(true));
	byId("none").addEventListener("click", () => setAllShown(false));
	byId("chart").addEventListener("keydown", (event) => {
		const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
		if (!step) return;
		stepCursor(state.plot, step, state.near);
		event.preventDefault();
	});
	// A cursor that the keys have put there would go on standing out one curve.
	byId("chart").addEventListener("blur", () => clearCursor(state.plot));
	new ResizeObserver(() =>
		state.plot?.setSize({ width: byId("chart").clientWidth, height: byId("chart").clientHeight }),
	).observe(byId("chart"));
	matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

if (traces.length > 0) {
	listen();
	draw();
} else {
	byId("about").textContent = "There are no results in this page.";
}
