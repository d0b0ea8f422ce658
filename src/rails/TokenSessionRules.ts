/**
 * Where token sessions may be opened, and for which challenges.
 *
 * Without these rules one site could hand on the challenge of another and spend there a limit that was meant for it, or
 * name a session endpoint of its own and be sent the account's credential.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { sha256, stringToBytes } from "viem/utils"
import type { Offer } from "../Offer.ts"
import { PolicyDenied } from "../PaymentError.ts"
import type { Unaccepted } from "../Rails.ts"
import * as Transport from "../Transport.ts"
import * as SeedChallenge from "../wire/mpp/SeedChallenge.ts"
import * as SessionEndpoint from "../wire/mpp/SessionEndpoint.ts"

/**
 * An origin at which sessions may be opened; with the realm that speaks for it where that is not its host.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listed {
  readonly origin: string
  readonly realm?: string | undefined
}

/**
 * What the rail is configured with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The account's secret at the session endpoint. */
  readonly credential: Redacted.Redacted<string>
  /** `https://host`, `https://host=realm`, or `*` for every origin, which is warned about. */
  readonly origins: ReadonlyArray<string | Listed>
  /** Default {@link SessionEndpoint.defaultEndpoint}. */
  readonly endpoint?: string | undefined
  /** How the agent names itself at the endpoint; by default as it does in the ledger. */
  readonly agentId?: string | undefined
}

/**
 * The options, checked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  readonly endpoint: string
  readonly credential: Redacted.Redacted<string>
  /** Tells this account from others that use the same ledger: too short to find the credential by. */
  readonly account: string
  readonly agentId: string | undefined
  /** The realm listed for an origin; `undefined` if the origin itself is not listed. */
  readonly listed: (origin: string) => Listed | undefined
}

/**
 * The entry that lists every origin.
 *
 * @category constants
 * @since 0.1.0
 */
export const everywhere = "*"

const denied = (rule: string, detail: string) => Result.fail(new PolicyDenied({ rule, detail }))

/** A URL that a secret may go to: secure, and nothing hidden in it. */
const plainUrl = (text: string): URL | undefined => {
  const url = URL.parse(text)
  const plain = url !== null && Transport.isSecure(url) && url.username === "" && url.password === "" &&
    url.search === "" && url.hash === ""
  return plain ? url : undefined
}

const accountOf = (endpoint: string, credential: Redacted.Redacted<string>): string =>
  sha256(stringToBytes(`effect-mpp account\n${endpoint}\n${Redacted.value(credential)}`)).slice(2, 10)

const parseListed = (entry: string | Listed): Listed | undefined => {
  const [origin = "", realm] = typeof entry === "string" ? entry.split(/=(.*)/s, 2) : [entry.origin, entry.realm]
  const url = plainUrl(origin.trim())
  return url?.pathname === "/" ? { origin: url.origin, realm: realm?.trim() } : undefined
}

/**
 * Whether a credential is one that a header can carry.
 *
 * @category guards
 * @since 0.1.0
 */
export const isCredential = (text: string): boolean => /^[\x21-\x7e]+$/.test(text)

/**
 * Whether a session endpoint is an https URL without user, query and fragment.
 *
 * @category guards
 * @since 0.1.0
 */
export const isEndpoint = (text: string): boolean => plainUrl(text) !== undefined

/**
 * Whether an entry lists an origin: `https://host`, `https://host=realm` or `*`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isListed = (entry: string): boolean => entry === everywhere || parseListed(entry) !== undefined

/**
 * Checks the options. What is wrong is said without repeating it: it may hold a secret.
 *
 * @category constructors
 * @since 0.1.0
 */
export const check = ({ agentId, credential, endpoint, origins }: Options): Result.Result<Settings, PolicyDenied> => {
  if (!isCredential(Redacted.value(credential))) {
    return denied("session-credential", "the session credential has characters that no header can carry")
  }
  const url = plainUrl(endpoint ?? SessionEndpoint.defaultEndpoint)
  if (url === undefined) {
    return denied("session-endpoint", "the session endpoint must be an https URL without user, query or fragment")
  }
  const entries = origins.filter((entry) => entry !== everywhere)
  const listed = new Map<string, Listed>()
  for (const entry of entries) {
    const one = parseListed(entry)
    if (one === undefined) {
      return denied("session-origins", "an origin for sessions must be https://host, https://host=realm or *")
    }
    listed.set(one.origin, one)
  }
  const open = entries.length < origins.length
  return Result.succeed({
    endpoint: url.href,
    credential,
    account: accountOf(url.href, credential),
    agentId,
    listed: (origin) => listed.get(origin) ?? (open ? { origin } : undefined)
  })
}

const refuse = (why: string, rule?: string): Result.Result<never, Unaccepted> =>
  Result.fail(rule === undefined ? { why } : { why, rule })

/** Whether what a challenge says it sells or whom it pays is at the origin. TLS may end before the merchant: only the host counts. */
const isAt = (origin: string, url: string): boolean => {
  const named = URL.parse(url, origin)
  return named !== null && named.hostname === new URL(origin).hostname
}

const isUrl = (text: string): boolean => /^https?:/i.test(text)

const sameUrl = (one: string, other: string): boolean => {
  const [a, b] = [URL.parse(one), URL.parse(other)]
  return a !== null && b !== null && a.href === b.href
}

/**
 * The challenge of an offer, if a session may be opened for it at this origin.
 *
 * @category guards
 * @since 0.1.0
 */
export const challengeOf = (
  settings: Settings,
  offer: Offer,
  origin: string
): Result.Result<SeedChallenge.SeedChallenge, Unaccepted> => {
  if (offer.protocol !== "mpp/1.0") return refuse("it is not a token session")
  if (!Transport.isSecure(origin)) return refuse("a token would travel over plain HTTP", "plain-http")
  const listed = settings.listed(origin)
  if (listed === undefined) return refuse("the origin is not listed for token sessions")
  const challenge = Option.getOrUndefined(SeedChallenge.fromOffer(offer))
  if (challenge === undefined) return refuse("its challenge cannot be read")
  const realms = offer.realm === undefined ? [challenge.realm] : [challenge.realm, offer.realm]
  if (!realms.every((realm) => SessionEndpoint.realmFits(realm, origin, listed.realm))) {
    return refuse("the challenge's realm does not belong to this origin", "realm-mismatch")
  }
  if (challenge.resource !== undefined && !isAt(origin, challenge.resource)) {
    return refuse("the challenge is for a resource of another origin", "realm-mismatch")
  }
  if (challenge.payee !== undefined && isUrl(challenge.payee) && !isAt(origin, challenge.payee)) {
    return refuse("the challenge pays another origin", "realm-mismatch")
  }
  if (challenge.sessionEndpoint !== undefined && !sameUrl(challenge.sessionEndpoint, settings.endpoint)) {
    return refuse("the challenge names a session endpoint that is not the configured one", "session-endpoint")
  }
  return Result.succeed(challenge)
}
