// A service worker that gives the page the headers with which browsers let WebAssembly use several threads, for web
// servers that do not send them.

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  if (new URL(event.request.url).origin !== self.location.origin) return;
  event.respondWith(
    fetch(event.request).then((reply) => {
      if (reply.type === "opaqueredirect") return reply;
      const headers = new Headers(reply.headers);
      headers.set("Cross-Origin-Opener-Policy", "same-origin");
      headers.set("Cross-Origin-Embedder-Policy", "require-corp");
      return new Response(reply.body, { status: reply.status, statusText: reply.statusText, headers });
    }),
  );
});
