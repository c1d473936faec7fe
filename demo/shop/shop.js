// The demo shop: a cart in localStorage, and an event for everything that a
// shop wants to know.
"use strict";

const PRODUCTS = [
  { id: "river-stone-mug", name: "River stone mug", price: 18, category: "table", hue: 168, shape: "mug", text: "Thrown in one piece and glazed the colour of a wet pebble. Holds a proper cup of tea." },
  { id: "oak-letter-tray", name: "Oak letter tray", price: 42, category: "desk", hue: 32, shape: "tray", text: "For what has to be answered this week. Dovetailed, oiled, and it will outlive the letters." },
  { id: "linen-notebook", name: "Linen notebook", price: 14.5, category: "desk", hue: 210, shape: "book", text: "160 pages that lie flat, sewn and bound in linen from the mill next door." },
  { id: "brass-lamp", name: "Brass lamp", price: 96, category: "desk", hue: 45, shape: "lamp", text: "Warm light, one switch, no app. The brass darkens with the years." },
  { id: "wool-throw", name: "Wool throw", price: 79, category: "home", hue: 350, shape: "throw", text: "Woven from undyed wool of sheep that graze on the dike." },
  { id: "salt-cellar", name: "Salt cellar", price: 24, category: "table", hue: 195, shape: "cellar", text: "A lid that turns aside with one finger, for the hand that is not stirring." },
];
const SHAPES = {
  mug: '<rect x="120" y="80" width="110" height="120" rx="16"/><path d="M230 105h22a28 28 0 0 1 0 70h-22" fill="none" stroke-width="16"/>',
  tray: '<path d="M90 130h220l-22 70H112z"/><path d="M90 130h220" stroke-width="10"/>',
  book: '<rect x="130" y="65" width="140" height="150" rx="8"/><path d="M150 65v150" stroke-width="6" stroke="#fff"/>',
  lamp: '<path d="M150 70h100l30 70H120z"/><path d="M200 140v70M160 215h80" stroke-width="12"/>',
  throw: '<path d="M100 90q100-40 200 0v110q-100 40-200 0z"/><path d="M110 130q90-34 180 0M110 165q90-34 180 0" fill="none" stroke="#fff" stroke-width="6"/>',
  cellar: '<rect x="140" y="110" width="120" height="95" rx="20"/><ellipse cx="200" cy="105" rx="66" ry="20"/>',
};
// Public addresses, so that a click on this machine has a place on the map.
const PLACES = [["the Netherlands", "193.0.6.139"], ["the United States", "8.8.8.8"], ["Japan", "202.12.27.33"], ["Brazil", "200.160.2.3"], ["South Africa", "196.216.2.6"], ["Australia", "203.119.86.101"], ["Germany", "194.246.96.1"]];

const byId = (id) => document.getElementById(id);
const money = (amount) => "€ " + amount.toFixed(2);
const cart = () => JSON.parse(localStorage.getItem("shop.cart") || "[]");
const saveCart = (items) => localStorage.setItem("shop.cart", JSON.stringify(items));
const product = (id) => PRODUCTS.find((p) => p.id === id);
const total = () => cart().reduce((sum, id) => sum + product(id).price, 0);
const about = (p) => ({ product_id: p.id, product_name: p.name, category: p.category });

function picture(p) {
  const colour = `hsl(${p.hue} 38% 42%)`;
  return `<svg viewBox="0 0 400 270" role="img" aria-label="${p.name}"><g fill="${colour}" stroke="${colour}" stroke-linecap="round">${SHAPES[p.shape]}</g></svg>`;
}

function send(type, metadata) {
  return freshet.track(type, Object.assign({ ip_address: localStorage.getItem("shop.place") || PLACES[0][1] }, metadata));
}
function sendPage(metadata) {
  return freshet.page(Object.assign({ ip_address: localStorage.getItem("shop.place") || PLACES[0][1] }, metadata));
}

const PAGES = {
  landing() { grid(); sendPage(); },
  products() { grid(); sendPage(); },
  product() {
    const p = product(location.pathname.split("/").pop().replace(".html", "")) || PRODUCTS[0];
    document.title = `${p.name} – Riverside Goods`;
    byId("product").innerHTML = `${picture(p)}<div><h1>${p.name}</h1><p class="price">${money(p.price)}</p><p>${p.text}</p><button class="button" id="add">Add to cart</button></div>`;
    byId("add").addEventListener("click", () => {
      saveCart(cart().concat(p.id));
      send("add_to_cart", Object.assign(about(p), { amount: p.price, currency: "EUR", quantity: 1 }));
      byId("add").textContent = "Added – once more?";
      count();
    });
    sendPage(about(p));
  },
  cart() {
    const rows = cart().map((id) => product(id)).map((p) => `<tr><td><a href="/product/${p.id}">${p.name}</a></td><td>${money(p.price)}</td></tr>`);
    byId("cart").innerHTML = rows.length === 0
      ? '<p>There is nothing in it yet. <a href="/products">Look around</a>.</p>'
      : `<table><thead><tr><th>Item</th><th>Price</th></tr></thead><tbody>${rows.join("")}</tbody><tfoot><tr><th>Total</th><th>${money(total())}</th></tr></tfoot></table><a class="button" id="to-checkout" href="/checkout">Go to checkout</a>`;
    sendPage();
  },
  checkout() {
    byId("total").textContent = `${cart().length} item(s), ${money(total())}`;
    sendPage();
    send("checkout_start", { amount: total(), currency: "EUR", quantity: cart().length });
    byId("checkout").addEventListener("submit", (event) => {
      event.preventDefault();
      const order = "R-" + Date.now().toString(36).toUpperCase();
      send("purchase", { amount: total(), currency: "EUR", quantity: cart().length, order_id: order });
      localStorage.setItem("shop.order", JSON.stringify({ order, amount: total() }));
      saveCart([]);
      location.href = "/thanks";
    });
  },
  thanks() {
    const { order, amount } = JSON.parse(localStorage.getItem("shop.order") || "{}");
    byId("order").textContent = order ? `Your order ${order} over ${money(amount)} is on its imaginary way.` : "There is no order yet.";
    sendPage();
  },
};

function grid() {
  const limit = Number(byId("grid").dataset.limit) || PRODUCTS.length;
  byId("grid").innerHTML = PRODUCTS.slice(0, limit)
    .map((p) => `<a class="card" href="/product/${p.id}">${picture(p)}<div><span>${p.name}</span><span>${money(p.price)}</span></div></a>`).join("");
}

function count() { byId("cart-count").textContent = cart().length; }

function footer() {
  const place = byId("place");
  place.innerHTML = PLACES.map(([name, ip]) => `<option value="${ip}">${name}</option>`).join("");
  place.value = localStorage.getItem("shop.place") || PLACES[0][1];
  place.addEventListener("change", () => localStorage.setItem("shop.place", place.value));
  if (FRESHET.search_url) Object.assign(byId("search-link"), { href: FRESHET.search_url, hidden: false });
  freshet.onEvent((kind, event) => {
    let item = document.querySelector(`[data-event="${event.event_id}"]`);
    if (!item) {
      item = document.createElement("li");
      item.dataset.event = event.event_id;
      byId("events").prepend(item);
      while (byId("events").children.length > 8) byId("events").lastChild.remove();
    }
    item.className = kind;
    item.textContent = `${event.event_type} ${kind}`;
    if (kind === "ok") localStorage.setItem("shop.sent", JSON.stringify(JSON.parse(localStorage.getItem("shop.sent") || "[]").concat(event.event_id).slice(-200)));
  });
}

// walk.js' pages take the products and the cart from here, and have another SDK.
if (document.body?.dataset.page) {
  freshet.configure({ endpoint: FRESHET.endpoint, writeKey: FRESHET.writeKey });
  footer();
  count();
  PAGES[document.body.dataset.page]();
}
