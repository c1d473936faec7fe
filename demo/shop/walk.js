// One walk from landing to purchase, told to somebody else's SDK: the pages
// segment.html and rudderstack.html say how each SDK is told, and what it says.
"use strict";

/** What the SDK said, newest first, and `window.walked` for whoever wants to read it all. */
window.walked = [];
function said(call, id, words, kind = "ok") {
  window.walked.push({ call, id, words, kind });
  const item = document.createElement("li");
  item.className = kind;
  const [what, how] = [document.createElement("b"), document.createElement("span")];
  what.textContent = call;
  how.textContent = words;
  item.append(what, how);
  byId("said").prepend(item);
}

/** Says in words that the SDK's script is not there; whether it is. */
function installed(is, name) {
  if (!is) byId("step").innerHTML = `<h1>The SDK is not here yet</h1><p>${name} comes from its registry, unmodified. Install it once, then load this page again:</p><pre>bash tests/sdks/install.sh</pre>`;
  return is;
}

/**
 * Draws the step that the address names and tells `sdk` = { page(title), track(event, properties), identify(userId, traits) }.
 * The steps change the address without loading, as a single-page app does.
 */
function walk(sdk) {
  const base = `/${location.pathname.split("/")[1]}`;
  const shown = PRODUCTS[0];
  const item = (p, quantity = 1) => ({ product_id: p.id, name: p.name, category: p.category, price: p.price, quantity });
  const items = () => [...new Set(cart())].map((id) => item(product(id), cart().filter((other) => other === id).length));
  const go = (path) => { history.pushState({}, "", base + path); draw(); };
  const button = (id, words) => `<button class="button" id="${id}">${words}</button>`;

  const STEPS = {
    "": () => ["Riverside Goods", `<h1>Useful things, made slowly.</h1><p>Every click goes to Freshet, by an SDK that does not know it.</p>${button("browse", "Look at a mug")}`,
      { browse: () => go(`/product/${shown.id}`) }],
    product: () => [`${shown.name} – Riverside Goods`, `${picture(shown)}<h1>${shown.name}</h1><p class="price">${money(shown.price)}</p>${button("add", "Add to cart")} ${button("to-cart", "To the cart")}`,
      {
        add: () => { saveCart(cart().concat(shown.id)); count(); sdk.track("Product Added", { ...item(shown), currency: "EUR" }); },
        "to-cart": () => go("/cart"),
      },
      () => sdk.track("Product Viewed", { ...item(shown), currency: "EUR" })],
    cart: () => ["Cart – Riverside Goods", cart().length === 0 ? `<h1>Your cart is empty</h1>${button("back", "Look at a mug")}`
      : `<h1>Cart</h1><p>${cart().length} item(s), ${money(total())}</p>${button("to-checkout", "Go to checkout")}`,
      { back: () => go(`/product/${shown.id}`), "to-checkout": () => go("/checkout") }],
    checkout: () => ["Checkout – Riverside Goods", `<h1>Checkout</h1><p>${cart().length} item(s), ${money(total())}. You are Ada Example, of 1 Mill Lane.</p>${button("buy", "Place the order")}`,
      {
        buy: () => {
          const order = { order: "R-" + Date.now().toString(36).toUpperCase(), amount: total() };
          sdk.identify("ada-example", { name: "Ada Example", plan: "guest" });
          sdk.track("Order Completed", { order_id: order.order, revenue: order.amount, currency: "EUR", products: items() });
          localStorage.setItem("shop.order", JSON.stringify(order));
          saveCart([]);
          count();
          go("/thanks");
        },
      },
      () => sdk.track("Checkout Started", { value: total(), currency: "EUR", products: items() })],
    thanks: () => {
      const { order, amount } = JSON.parse(localStorage.getItem("shop.order") || "{}");
      return ["Thank you – Riverside Goods", `<h1>Thank you</h1><p>${order ? `Your order ${order} over ${money(amount)} is on its imaginary way.` : "There is no order yet."}</p>${button("again", "Once more")}`,
        { again: () => go("") }];
    },
  };

  function draw() {
    const step = STEPS[location.pathname.slice(base.length + 1).split("/")[0]] || STEPS[""];
    const [title, html, clicks, then] = step();
    document.title = title;
    byId("step").innerHTML = html;
    for (const [id, click] of Object.entries(clicks)) byId(id)?.addEventListener("click", click);
    sdk.page(title);
    then?.();
  }
  window.addEventListener("popstate", draw);
  count();
  draw();
}
