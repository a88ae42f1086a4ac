// SPDX-License-Identifier: MIT
//
// legend.js - the list of policies: shows which curve is which, its value under the cursor, and hides or shows it
import { curveName, percent, pointAt } from "./data.js";

const SVG = "http://www.w3.org/2000/svg";

function sample(look) {
	const svg = document.createElementNS(SVG, "svg");
	const stroke = document.createElementNS(SVG, "line");
	svg.setAttribute("width", 28);
	svg.setAttribute("height", 10);
	svg.setAttribute("aria-hidden", "true");
	for (const [name, value] of Object.entries({ x1: 0, x2: 28, y1: 5, y2: 5, "stroke-width": 3 })) stroke.setAttribute(name, value);
	stroke.setAttribute("stroke", look.colour);
	stroke.setAttribute("stroke-dasharray", look.dash.join(" "));
	svg.append(stroke);
	return svg;
}

function span(name) {
	const element = document.createElement("span");
	element.className = name;
	return element;
}

function entry(trace, curve, look, shown, onToggle) {
	const item = document.createElement("li");
	const label = document.createElement("label");
	const box = document.createElement("input");
	const name = span("name");
	const value = span("value");
	box.type = "checkbox";
	box.checked = shown;
	box.addEventListener("change", () => onToggle(box.checked));
	name.textContent = curveName(curve, trace);
	label.append(box, sample(look), name, value);
	item.append(label);
	return { item, label, box, value };
}

// Fill `list` with an entry for each curve.  onToggle(c, shown) is called when the user clicks one.
export function listPolicies(list, trace, { looks, shown, onToggle }) {
	const entries = trace.curves.map((curve, c) => entry(trace, curve, looks[c], shown[c], (now) => onToggle(c, now)));
	list.replaceChildren(...entries.map((one) => one.item));
	return {
		setShown(c, now) {
			entries[c].box.checked = now;
		},
		// Miss ratios with so many frames, of the curves that have a point there; null: none.
		setValues(frames, near) {
			entries.forEach(({ label, value }, c) => {
				const curve = trace.curves[c];
				const i = frames === null ? -1 : pointAt(curve, frames);
				value.textContent = curve.frames[i] === frames ? percent(curve.misses[i] / trace.requests) : "";
				label.classList.toggle("near", c === near);
			});
		},
	};
}
