import { configure } from "@testing-library/dom";

// The machines that run these tests may be busy with others.
configure({ asyncUtilTimeout: 15_000 });

// jsdom lays nothing out and so scrolls nothing.
if (typeof Element !== "undefined") Element.prototype.scrollIntoView ??= () => undefined;
