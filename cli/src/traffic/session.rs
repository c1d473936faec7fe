//! One visit, from the landing page to wherever the visitor gives up.

use super::catalogue::{CAMPAIGNS, Catalogue, SEARCHES};
use super::visitors::Visitor;
use super::{Event, Metadata, uuid};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use std::borrow::Cow;

const SHOP: &str = "https://shop.example.com";
/// One for all, so that revenues add up.
const CURRENCY: &str = "EUR";

/// Where a visit stands: what its next event will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Landing,
    Products,
    Search,
    Product,
    AddToCart,
    Cart,
    CheckoutStart,
    Purchase,
    Over,
}

/// A visit under way.
#[derive(Debug)]
pub(super) struct Session {
    visitor: Visitor,
    session_id: String,
    step: Step,
    previous_page: Cow<'static, str>,
    looking_at: Option<Line>,
    cart_total: f64,
    cart_items: u32,
}

/// A product, and how many of it.
#[derive(Debug)]
struct Line {
    id: String,
    name: String,
    slug: String,
    category: &'static str,
    price: f64,
    quantity: u32,
}

impl Session {
    pub(super) fn new(visitor: Visitor, rng: &mut StdRng) -> Self {
        Self {
            visitor,
            session_id: format!("s-{}", uuid(rng).simple()),
            step: Step::Landing,
            previous_page: Cow::Borrowed(""),
            looking_at: None,
            cart_total: 0.0,
            cart_items: 0,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.step == Step::Over
    }

    /// The next event, and a decision what to do then.
    pub(super) fn event(
        &mut self,
        catalogue: &Catalogue,
        rng: &mut StdRng,
        timestamp: String,
    ) -> Event {
        let mut metadata = Metadata {
            ip_address: self.visitor.ip_address.clone(),
            user_agent: self.visitor.user_agent,
            locale: self.visitor.locale,
            ..Metadata::default()
        };
        let (event_type, path) = match self.step {
            Step::Landing => {
                let (referrer, query) = CAMPAIGNS.choose(rng).copied().unwrap_or_default();
                self.previous_page = Cow::Borrowed(referrer);
                metadata.title = Some(Cow::Borrowed("Freshet Goods"));
                ("page_view", format!("/{query}"))
            }
            Step::Products => {
                metadata.title = Some(Cow::Borrowed("All products"));
                let page = rng.random_range(1..=3);
                ("page_view", format!("/products?sort=popular&page={page}"))
            }
            Step::Search => {
                let query = SEARCHES.choose(rng).copied().unwrap_or_default();
                metadata.search_query = Some(query);
                let encoded = query.replace(' ', "+").replace('é', "%C3%A9");
                ("search", format!("/search?q={encoded}"))
            }
            Step::Product => {
                let product = catalogue.pick(rng);
                let line = Line {
                    id: product.id.clone(),
                    name: product.name.clone(),
                    slug: product.slug.clone(),
                    category: product.category,
                    price: product.price,
                    quantity: if rng.random_bool(0.8) { 1 } else { 2 },
                };
                metadata.title = Some(Cow::Owned(line.name.clone()));
                line.describe(&mut metadata);
                let path = format!("/product/{}", line.slug);
                self.looking_at = Some(line);
                ("page_view", path)
            }
            Step::AddToCart => self.add_to_cart(&mut metadata),
            Step::Cart => {
                metadata.title = Some(Cow::Borrowed("Cart"));
                ("page_view", "/cart".to_owned())
            }
            Step::CheckoutStart => {
                self.charge(&mut metadata);
                ("checkout_start", "/checkout".to_owned())
            }
            Step::Purchase | Step::Over => {
                self.charge(&mut metadata);
                let order = format!("O-{:08x}", rng.random::<u32>());
                let path = format!("/thanks?order={order}");
                metadata.order_id = Some(order);
                ("purchase", path)
            }
        };
        let page_url = format!("{SHOP}{path}");
        let referrer = std::mem::replace(&mut self.previous_page, Cow::Owned(page_url.clone()));
        metadata.referrer = Some(referrer).filter(|page| !page.is_empty());
        self.step = self.decide(rng);
        Event {
            event_id: uuid(rng).to_string(),
            user_id: self.visitor.user_id.clone(),
            session_id: self.session_id.clone(),
            event_type,
            page_url,
            timestamp,
            metadata,
        }
    }

    fn add_to_cart(&mut self, metadata: &mut Metadata) -> (&'static str, String) {
        let Some(line) = &self.looking_at else {
            return ("page_view", "/cart".to_owned());
        };
        line.describe(metadata);
        metadata.quantity = Some(line.quantity);
        self.cart_total += line.price * f64::from(line.quantity);
        self.cart_items += line.quantity;
        ("add_to_cart", format!("/product/{}", line.slug))
    }

    /// What the cart costs, to the cent.
    fn charge(&self, metadata: &mut Metadata) {
        metadata.amount = Some((self.cart_total * 100.0).round() / 100.0);
        metadata.currency = Some(CURRENCY);
        metadata.quantity = Some(self.cart_items);
    }

    /// Where visitors go on to and where they give up: about 1 in 20 buys.
    fn decide(&self, rng: &mut StdRng) -> Step {
        let (on, shares): (&[Step], &[u32]) = match self.step {
            Step::Landing => (
                &[Step::Products, Step::Search, Step::Product, Step::Over],
                &[45, 12, 13, 30],
            ),
            Step::Products | Step::Search => {
                (&[Step::Product, Step::Products, Step::Over], &[70, 10, 20])
            }
            Step::Product => (
                &[Step::Product, Step::AddToCart, Step::Products, Step::Over],
                &[35, 20, 10, 35],
            ),
            Step::AddToCart => (&[Step::Cart, Step::Product, Step::Over], &[60, 25, 15]),
            Step::Cart => (
                &[Step::CheckoutStart, Step::Product, Step::Over],
                &[55, 10, 35],
            ),
            Step::CheckoutStart => (&[Step::Purchase, Step::Over], &[65, 35]),
            Step::Purchase | Step::Over => (&[Step::Over], &[100]),
        };
        let mut drawn = rng.random_range(0..100);
        for (&step, &share) in on.iter().zip(shares) {
            if drawn < share {
                return step;
            }
            drawn -= share;
        }
        Step::Over
    }
}

impl Line {
    fn describe(&self, metadata: &mut Metadata) {
        metadata.product_id = Some(self.id.clone());
        metadata.product_name = Some(self.name.clone());
        metadata.category = Some(self.category);
    }
}
