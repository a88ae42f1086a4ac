// SPDX-License-Identifier: MIT
//
// chart.js - the curves of one trace, drawn by uPlot
import uPlot from "uplot";
import { alignedColumns, count, percent } from "./data.js";

const LINEAR = 1;
const LOGARITHMIC = 3;
const NEAR = 40; // pixels from which a point is meant

// A colour of the style sheet, for the light or the dark scheme as the page has it.
function resolved(name) {
	const probe = document.createElement("i");
	probe.style.color = `var(${name})`;
	document.body.append(probe);
	const { color } = getComputedStyle(probe);
	probe.remove();
	return color;
}

function axis(label, values) {
	const stroke = resolved("--faint");
	const grid = { stroke: resolved("--line"), width: 1 };
	return { label, values, stroke, grid, ticks: grid, font: "12px system-ui, sans-serif", labelFont: "13px system-ui, sans-serif" };
}

const shortCount = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

// On a logarithmic axis only 1, 2 and 5 times a power of ten are labelled.
function framesLabels(plot, splits) {
	const logarithmic = plot.scales.x.distr === LOGARITHMIC;
	return splits.map((frames) => {
		if (frames === null || (frames < 1 && frames !== 0)) return "";
		const lead = Math.round(frames / 10 ** Math.floor(Math.log10(frames)));
		return logarithmic && ![1, 2, 5, 10].includes(lead) ? "" : shortCount.format(frames);
	});
}

const line = (look, show) => ({
	show,
	stroke: look.colour,
	dash: look.dash,
	width: 2,
	spanGaps: true,
	points: { size: 5, fill: look.colour },
});

// The point next to the cursor among the curves shown: { curve, frames, left, top }, or null.
function nearestPoint(plot) {
	const { left, top, idxs } = plot.cursor;
	let best = null;
	let distance = NEAR;
	for (let s = 1; s < plot.series.length; s++) {
		const i = idxs?.[s];
		if (!plot.series[s].show || i === null || i === undefined || plot.data[s][i] === undefined) continue;
		const x = plot.valToPos(plot.data[0][i], "x");
		const y = plot.valToPos(plot.data[s][i], "y");
		const d = Math.hypot(x - left, y - top);
		if (d < distance) {
			distance = d;
			best = { curve: s - 1, frames: plot.data[0][i], left: x, top: y };
		}
	}
	return best;
}

// Draw the curves of a trace in `parent`.  looks: a look for each curve; shown: is it drawn at the start; onHover: called with
// the point next to the cursor or null, and the size under the cursor or null.
export function drawCurves(parent, trace, { looks, shown, logarithmic, onHover }) {
	const columns = alignedColumns(trace);
	const whole = [columns[0][0] ?? 1, columns[0].at(-1) ?? 2];
	const range = (plot, min, max) => (min < max ? [min, max] : [Math.max(1, min - 1), max + 1]);
	const hover = (plot) => {
		const i = plot.cursor.left >= 0 ? plot.cursor.idx : null;
		onHover(nearestPoint(plot), i === null || i === undefined ? null : plot.data[0][i]);
	};
	const plot = new uPlot(
		{
			width: parent.clientWidth,
			height: parent.clientHeight,
			legend: { show: false },
			cursor: { hover: { prox: null }, focus: { prox: NEAR }, drag: { x: true, y: false } },
			focus: { alpha: 0.35 },
			scales: {
				x: { time: false, distr: logarithmic ? LOGARITHMIC : LINEAR, range },
				y: { range: (plot, min, max) => [0, Math.min(1, max > 0 ? 1.05 * max : 1)] },
			},
			axes: [
				axis("frames", framesLabels),
				{ ...axis("miss ratio", (plot, splits) => splits.map((share) => percent(share, 0))), size: 60 },
			],
			series: [{}, ...trace.curves.map((curve, c) => line(looks[c], shown[c]))],
			hooks: { setCursor: [hover] },
		},
		columns,
		parent,
	);
	const summary = `${trace.name}: miss ratio over frames, ${count.format(whole[0])} to ${count.format(whole[1])} frames`;
	parent.setAttribute("aria-label", summary);
	return plot;
}

// Move the cursor to the next size, or the one before, at the height of the curve that it was next to.
export function stepCursor(plot, step, curve) {
	const sizes = plot.data[0];
	const from = plot.cursor.left >= 0 ? plot.cursor.idx : step > 0 ? -1 : sizes.length;
	let s = curve !== null && plot.series[curve + 1].show ? curve + 1 : plot.series.findIndex((one, i) => i > 0 && one.show);
	if (s < 0) return;
	for (let i = from + step; i >= 0 && i < sizes.length; i += step)
		if (plot.data[s][i] !== undefined) {
			plot.setCursor({ left: plot.valToPos(sizes[i], "x"), top: plot.valToPos(plot.data[s][i], "y") });
			return;
		}
}

// As when the pointer leaves the chart.
export function clearCursor(plot) {
	plot.setCursor({ left: -10, top: -10 });
}
