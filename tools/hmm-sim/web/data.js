// SPDX-License-Identifier: MIT
//
// data.js - the results in the page, as the chart wants them
//
// In the page: { traces: [ { name, unique, requests, curves: [ { policy, mode, frames: [], misses: [], ... } ] } ] }.
// Columns of a curve stand side by side: the ith point is frames[i], misses[i], and, where they are known, page_ins[i],
// page_outs[i], zero_fills[i], or of a sample rate[i] and error[i].
import uPlot from "uplot";

export function readResults(element) {
	return JSON.parse(element.textContent).traces;
}

// A curve's name in the legend: what tells it from the others of its trace.
export function curveName(curve, trace) {
	const twins = trace.curves.filter((other) => other.policy === curve.policy);
	return twins.length > 1 ? `${curve.policy} (${curve.mode})` : curve.policy;
}

// Aligned columns: all sizes of all curves first, then a column of miss ratios for each curve, undefined where the curve
// has no point.
export function alignedColumns(trace) {
	const ratio = (misses) => (trace.requests > 0 ? misses / trace.requests : 0);
	const tables = trace.curves.map((curve) => [curve.frames, curve.misses.map(ratio)]);
	return tables.length > 0 ? uPlot.join(tables) : [[]];
}

// Index of the point of a curve with so many frames; its sizes ascend.
export function pointAt(curve, frames) {
	let low = 0;
	let high = curve.frames.length;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (curve.frames[middle] < frames) low = middle + 1;
		else high = middle;
	}
	return low;
}

const count = new Intl.NumberFormat("en");
const percent = (share, digits = 2) => `${(100 * share).toFixed(digits)}%`;

export { count, percent };

// What the page says of one point, a line each.
export function describePoint(trace, curve, i) {
	const lines = [
		curveName(curve, trace),
		`${count.format(curve.frames[i])} frames (${percent(curve.frames[i] / trace.unique, 1)} of the pages)`,
		`${count.format(curve.misses[i])} misses of ${count.format(trace.requests)} requests`,
		`miss ratio ${percent(curve.misses[i] / trace.requests)}`,
	];
	if (curve.error) lines[3] += ` ± ${percent(curve.error[i])}, from ${percent(curve.rate[i])} of the pages`;
	if (curve.page_ins) {
		const [ins, outs, zeros] = [curve.page_ins, curve.page_outs, curve.zero_fills].map((of) => count.format(of[i]));
		lines.push(`${ins} page-ins, ${outs} page-outs, ${zeros} zero fills`);
	}
	return lines;
}
