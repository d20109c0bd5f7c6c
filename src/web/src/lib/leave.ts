/** Leaves the app for another page. */
export function leaveFor(href: string): void {
  window.location.assign(href);
}
