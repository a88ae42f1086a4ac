// SPDX-License-Identifier: MIT
//
// colours.js - a colour and a dash for each policy, the same on every trace
//
// Ten colours are as many as can be told apart on white and on black; after them the dash changes.
const COLOURS = ["#1f77b4", "#e8710a", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#a8a800", "#17a2b8"];
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];

// Map from the name of a policy, with its parameters, to { colour, dash }.
export function assignColours(traces) {
	const looks = new Map();
	for (const trace of traces)
		for (const { policy } of trace.curves)
			if (!looks.has(policy))
				looks.set(policy, {
					colour: COLOURS[looks.size % COLOURS.length],
					dash: DASHES[Math.floor(looks.size / COLOURS.length) % DASHES.length],
				});
	return looks;
}
