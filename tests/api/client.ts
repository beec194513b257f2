// What a client in TypeScript has to send, and what it may leave out.

import type { components, operations } from "./build/schema";

type Schemas = components["schemas"];

export const product: Schemas["ProductInput"] = {
  name: "Oak desk",
  price: "19.90",
  stock: 5,
  category_id: 1,
};
export const newPrice: Schemas["ProductPatch"] = { price: "18.90" };
export const noSku: Schemas["ProductPatch"] = { sku: null };
export const newName: Schemas["CategoryPatch"] = { name: "Garden" };
export const checkout: Schemas["CheckoutInput"] = {
  customer: { name: "Sample Customer", email: "customer@example.com" },
};
export const order: Schemas["OrderInput"] = {
  ...checkout,
  lines: [{ product_id: 7, quantity: 2 }],
};
export const firstPage: operations["listProducts"]["parameters"]["query"] = {};
export const unconditional: operations["updateProduct"]["parameters"]["header"] = {};

// @ts-expect-error: a product has a price
export const withoutPrice: Schemas["ProductInput"] = { name: "Oak desk", stock: 5, category_id: 1 };
// @ts-expect-error: no such field
export const misspelt: Schemas["ProductPatch"] = { prize: "18.90" };
// @ts-expect-error: an order has lines
export const withoutLines: Schemas["OrderInput"] = { customer: checkout.customer };
