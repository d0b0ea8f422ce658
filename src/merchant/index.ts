/**
 * The other side of the counter: sell routes of an `HttpRouter`, keep token sessions, and settle x402 through a facilitator.
 *
 * @since 0.1.0
 */
export * as ChannelBooks from "./ChannelBooks.ts"
export * as Facilitator from "./Facilitator.ts"
export * as Paywall from "./Paywall.ts"
export * as SessionAuthority from "./SessionAuthority.ts"
