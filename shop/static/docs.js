"use strict";

const place = document.getElementById("api");
// By this name Swagger UI is asked in the browser's console what it knows.
window.ui = SwaggerUIBundle({
  domNode: place,
  url: place.dataset.document,
  deepLinking: true,
  tryItOutEnabled: true,
});
