/**
 * What may be paid, to whom, and where: always present, and closed where it is in doubt.
 *
 * A policy decides from the offer alone, before anything is planned. How much may be spent is the budget's business; how an
 * origin has behaved is known to the ledger, and judged by `conduct`.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Asset from "./Asset.ts"
import { Chain } from "./Chain.ts"
import type { Offer } from "./Offer.ts"
import { PolicyDenied } from "./PaymentError.ts"
import { isSecure } from "./Transport.ts"
import * as Shares from "./wire/mpp/Shares.ts"

export * from "./policy/Conduct.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** CAIP-2 networks that may be paid on. Default: those with an RPC; without any, the main networks of the asset table. */
  readonly networks?: ReadonlyArray<string> | undefined
  /** Origins that may be paid: `https://api.example.com`, `api.example.com`, `*.example.com`. Default: all. */
  readonly allowOrigins?: ReadonlyArray<string> | undefined
  /** Origins that may not be paid, even if they are allowed. An entry that cannot be read denies every origin. */
  readonly denyOrigins?: ReadonlyArray<string> | undefined
  /** Payees that may be paid, those included that get a part. Default: all. */
  readonly allowPayees?: ReadonlyArray<string> | undefined
  /** Whether plain http may be paid over beyond this machine: everywhere, or at these host names. Default: nowhere. */
  readonly allowHttp?: boolean | ReadonlyArray<string> | undefined
}

/**
 * What an offer is screened against.
 *
 * @category models
 * @since 0.1.0
 */
export interface Question {
  /** Scheme, host and port of the server that demands the payment. */
  readonly origin: string
  /** The asset that the rail would pay in. */
  readonly asset: Asset.Asset
  readonly payer: string
  /** Milliseconds since the epoch. */
  readonly now: number
}

/**
 * The policy in force. Every answer is the objection, if there is one.
 *
 * @category services
 * @since 0.1.0
 */
export class Policy extends Context.Service<Policy, {
  /** The networks that may be paid on. */
  readonly networks: ReadonlySet<string>
  /** Whether anything may be paid at a URL: rules `plain-http` and `origin`. */
  readonly url: (url: string) => Option.Option<PolicyDenied>
  /** Whether this offer may be paid; includes the rules of `url`. */
  readonly screen: (offer: Offer, question: Question) => Option.Option<PolicyDenied>
  /** Whether the list of allowed payees names this one. Without a list nobody is named, and everybody may be paid. */
  readonly vouches: (payee: string) => boolean
}>()("effect-mpp/Policy") {}

/**
 * A merchant that wants an authorisation to be valid for less than this many seconds wants none that can be settled.
 *
 * @category constants
 * @since 0.1.0
 */
export const minValiditySeconds = 15

/**
 * No authorisation is valid for longer than this many seconds, whatever the merchant wants and a rail is told: what it
 * holds could not be used elsewhere for as long.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxValiditySeconds = 600

const deny = (rule: string, detail: string, offer?: Offer): PolicyDenied =>
  new PolicyDenied({ rule, detail, ...(offer === undefined ? {} : { offer }) })

/** `example.com.` is the same host as `example.com`. */
const hostOf = (url: URL): string => url.hostname.replace(/\.$/, "").toLowerCase()

const portOf = (url: URL): string => url.port === "" ? "" : `:${url.port}`

/** `https://host`, `host`, `host:port` or `*.host`, as a test of URLs. */
const parseOrigin = (entry: string): Option.Option<(url: URL) => boolean> => {
  const [, scheme, wildcard, rest] = /^([a-z][a-z0-9+.-]*:\/\/)?(\*\.)?((?!.*:\/\/)[^*:/][^*]*)$/i.exec(entry.trim()) ??
    []
  const named = rest === undefined ? null : URL.parse(`${scheme ?? "https://"}${rest}`)
  if (named === null || /^(?:$|\.)/.test(hostOf(named))) return Option.none()
  const host = hostOf(named)
  return Option.some((url) =>
    (scheme === undefined || (url.protocol === named.protocol && portOf(url) === portOf(named))) &&
    (portOf(named) === "" || portOf(url) === portOf(named)) &&
    (wildcard === undefined ? hostOf(url) === host : hostOf(url).endsWith(`.${host}`))
  )
}

/** Whether one of the entries names a URL; an entry that cannot be read answers as it is told. */
const originList = (entries: ReadonlyArray<string>, unreadable: boolean) => {
  const tests = entries.map((entry) => Option.getOrElse(parseOrigin(entry), () => () => unreadable))
  return (url: URL) => tests.some((test) => test(url))
}

/** Hexadecimal addresses are the same in any case; other names are not. */
const normalPayee = (payee: string): string => /^0x[0-9a-f]{40}$/i.test(payee) ? payee.toLowerCase() : payee

const zeroAddress = /^0x0+$/i

/**
 * Whether another origin than the one that was asked has answered: no payment crosses origins (rule `redirected`).
 *
 * @category rules
 * @since 0.1.0
 */
export const redirected = (asked: string, answered: string): Option.Option<PolicyDenied> => {
  const [from, to] = [URL.parse(asked)?.origin, URL.parse(answered)?.origin]
  return from === to && from !== undefined && from !== "null"
    ? Option.none()
    : Option.some(deny(
      "redirected",
      `${from ?? "the server that was asked"} redirected to ${to ?? "another one"}; ask that origin directly to pay it`
    ))
}

/**
 * Whether two names are of the same payee: an address is the same in any case.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isSamePayee = (one: string, other: string): boolean => normalPayee(one) === normalPayee(other)

/** Behind a proxy that ends TLS that is ordinary. */
const sellsAnotherUrl = (offer: Offer, url: string): boolean => {
  if (offer.resource === undefined) return false
  const [asked, sold] = [URL.parse(url), URL.parse(offer.resource, url)]
  return asked === null || sold === null || asked.origin !== sold.origin || asked.pathname !== sold.pathname
}

/**
 * What is odd about an offer and no reason to refuse it, in our own words: that the merchant says that it sells another URL
 * of the same host; that the payee gets less than half of the price.
 *
 * **Details**
 *
 * A payee is taken for the one who sells, and those who get parts for agents with a fee. Where they get more than it,
 * together, most of the money goes to others than the one who is named. Half each is an ordinary way to share.
 *
 * @category rules
 * @since 0.1.0
 */
export const warnings = (offer: Offer, url: string): ReadonlyArray<string> => {
  const [payee, ...others] = Shares.of(offer)
  const percent = Option.map(payee.units, (units) => 100n * units / (offer.units || 1n))
  const isSmall = others.length > 0 && Option.exists(payee.units, (units) => 2n * units < offer.units)
  return [
    ...(sellsAnotherUrl(offer, url)
      ? ["the merchant says that it sells another URL than the one that was asked for"]
      : []),
    ...(isSmall
      ? [`the payee gets ${Option.getOrElse(percent, () => 0n) || "less than 1"} % of the price, and others the rest`]
      : [])
  ]
}

/**
 * The policy of these options, for the networks that can be asked and the assets that are known.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options,
  world: { readonly rpcNetworks: ReadonlyArray<string>; readonly assets: Asset.AssetTable }
): Policy["Service"] => {
  const mainNetworks = world.assets.assets.filter((asset) => asset.usd && !asset.testnet).map((asset) => asset.network)
  const networks = new Set([
    ...(options.networks ?? (world.rpcNetworks.length > 0 ? world.rpcNetworks : mainNetworks)),
    // There is no chain behind them: which of them are in the table, and at which origins, is for the program to say.
    ...world.assets.assets.map(({ network }) => network).filter((network) => network.startsWith("mpp:"))
  ])
  const isAllowed = options.allowOrigins === undefined ? () => true : originList(options.allowOrigins, false)
  const isDenied = originList(options.denyOrigins ?? [], true)
  const payees = options.allowPayees && new Set(options.allowPayees.map((payee) => normalPayee(payee.trim())))
  const mayUseHttp = typeof options.allowHttp === "object"
    ? originList(options.allowHttp, false)
    : () => options.allowHttp === true

  const url = (text: string): Option.Option<PolicyDenied> => {
    const parsed = URL.parse(text)
    if (parsed === null) return Option.some(deny("origin", "this is not a URL"))
    const named = `${parsed.protocol}//${parsed.host}`
    // With an MCP server that is a child of this process nobody else is on the line, and the program has named it.
    if (!isSecure(parsed) && parsed.protocol !== "mcp:" && !(parsed.protocol === "http:" && mayUseHttp(parsed))) {
      const detail = `${named} is neither https nor on this machine; MPP_ALLOW_HTTP can name hosts that may be paid`
      return Option.some(deny("plain-http", detail))
    }
    if (isDenied(parsed)) return Option.some(deny("origin", `${named} is on the list of denied origins`))
    if (!isAllowed(parsed)) return Option.some(deny("origin", `${named} is not on the list of allowed origins`))
    return Option.none()
  }

  const objection = (offer: Offer, { asset, now, origin, payer }: Question): readonly [string, string] | undefined => {
    const known = world.assets.find(asset.network, asset.address)
    if (!networks.has(asset.network)) return ["network", `payments on ${asset.network} are not allowed`]
    if (offer.network !== "" && offer.network !== asset.network) {
      return ["network", `the offer is not for ${asset.network}, where it would be paid`]
    }
    if (!Option.exists(known, (it) => it.usd && it.decimals === asset.decimals)) {
      return ["asset", `the asset is not one of the known dollar-pegged assets of ${asset.network}`]
    }
    // Where there is no chain, the account behind a method or an endpoint is the payee.
    if (offer.payee === "" && !asset.network.startsWith("mpp:")) return ["payee", "the offer names no payee"]
    const paid = [offer.payee, ...(offer.alsoPays ?? [])].map(normalPayee)
    if (paid.some((payee) => zeroAddress.test(payee))) return ["payee", "the offer pays the zero address"]
    if (paid.some((payee) => payee !== "" && payee === normalPayee(payer))) return ["payee", "the offer pays the payer"]
    if (payees !== undefined && paid.some((payee) => !payees.has(payee))) {
      return ["payee", "the payee is not on the list of allowed payees"]
    }
    if (sellsElsewhere(offer, origin)) return ["resource", "the offer is for a resource of another host"]
    if (offer.expiresAt !== undefined && now >= offer.expiresAt) return ["expired", "the offer has expired"]
    if (offer.validitySeconds !== undefined && offer.validitySeconds < minValiditySeconds) {
      return ["validity", `the offer gives a payment less than ${minValiditySeconds} seconds to be settled`]
    }
    return undefined
  }

  return {
    networks,
    url,
    vouches: (payee) => payees?.has(normalPayee(payee)) ?? false,
    screen: (offer, question) =>
      Option.orElse(
        Option.map(url(question.origin), ({ detail, rule }) => deny(rule, detail, offer)),
        () =>
          Option.map(Option.fromUndefinedOr(objection(offer, question)), ([rule, detail]) => deny(rule, detail, offer))
      )
  }
}

/** Only web addresses name a host: a resource may be the name of a tool as well. */
const sellsElsewhere = (offer: Offer, origin: string): boolean => {
  if (offer.resource === undefined) return false
  const [asked, sold] = [URL.parse(origin), URL.parse(offer.resource, origin)]
  if (sold === null) return /^\s*https?:/i.test(offer.resource)
  return /^https?:$/.test(sold.protocol) && asked !== null && hostOf(sold) !== hostOf(asked)
}

/** Entries of a variable, comma separated; `undefined` if it names none. */
const list = (
  name: string,
  isReadable: (entry: string) => boolean = () => true
): Config.Config<ReadonlyArray<string> | undefined> => {
  const Entry = Schema.String.check(
    Schema.makeFilter<string>((entry) =>
      isReadable(entry) || "Expected an origin: https://api.example.com, api.example.com or *.example.com"
    )
  )
  return Config.Array(Entry, name).pipe(
    Config.map((entries) => entries.map((entry) => entry.trim()).filter((entry) => entry !== "")),
    Config.map((entries) => entries.length === 0 ? undefined : entries),
    Config.withDefault(undefined)
  )
}

const isOrigin = (entry: string): boolean => entry.trim() === "" || Option.isSome(parseOrigin(entry))

/** `MPP_ALLOW_HTTP`: yes, no, or the names of hosts. */
const allowHttp: Config.Config<boolean | ReadonlyArray<string> | undefined> = Config.map(
  list("MPP_ALLOW_HTTP"),
  (entries) => {
    const [word] = entries ?? []
    if (entries === undefined || entries.length > 1 || word === undefined) return entries
    return /^(?:true|yes|on|1|y)$/i.test(word) || (!/^(?:false|no|off|0|n)$/i.test(word) && entries)
  }
)

/**
 * The options of `MPP_NETWORKS`, `MPP_ALLOW_ORIGINS`, `MPP_DENY_ORIGINS`, `MPP_ALLOW_PAYEES` and `MPP_ALLOW_HTTP`.
 *
 * @category config
 * @since 0.1.0
 */
export const config: Config.Config<Options> = Config.all({
  networks: list("MPP_NETWORKS"),
  allowOrigins: list("MPP_ALLOW_ORIGINS", isOrigin),
  denyOrigins: list("MPP_DENY_ORIGINS", isOrigin),
  allowPayees: list("MPP_ALLOW_PAYEES"),
  allowHttp
})

const fromOptions = Effect.fnUntraced(function*(options: Options) {
  const chain = yield* Chain
  return make(options, { rpcNetworks: chain.networks, assets: yield* Asset.Table })
})

/**
 * The policy of these options alone.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Policy, never, Chain> => Layer.effect(Policy, fromOptions(options))

/**
 * The policy without any option.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDefault: Layer.Layer<Policy, never, Chain> = layer({})

/**
 * The policy of the environment; an option that is given wins over its variable.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfigWith = (options: Options): Layer.Layer<Policy, Config.ConfigError, Chain> =>
  Layer.effect(
    Policy,
    Effect.flatMap(config, (environment) => {
      const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
      return fromOptions({ ...environment, ...given })
    })
  )

/**
 * The policy of the environment.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig: Layer.Layer<Policy, Config.ConfigError, Chain> = layerConfigWith({})
