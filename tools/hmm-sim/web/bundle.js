// SPDX-License-Identifier: MIT
//
// bundle.js - make main.js and style.css, with all that they import, into one script and one style sheet in dist/
import { build } from "esbuild";

await build({
	entryPoints: ["main.js"],
	outdir: "dist",
	bundle: true,
	minify: true,
	format: "iife",
	target: ["es2022"],
	legalComments: "none", // build.py puts the licences at the head of the page
	logLevel: "warning",
});
