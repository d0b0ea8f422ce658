/**
 * What a quote warns of: what is odd about the offers, and that a payee is unknown. Nothing of it is a reason to refuse, and
 * nothing is said of it while paying: a program that wants to pay known payees alone has a list of them in its policy.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Ledger } from "./Ledger.ts"
import type { Offer } from "./Offer.ts"
import * as Policy from "./Policy.ts"

/** So many purchases of an agent at an origin are looked through, newest first: a quote does not read a whole history. */
const remembered = 200

/**
 * What is warned about.
 *
 * @category models
 * @since 0.1.0
 */
export interface Subject {
  readonly agent: string
  readonly origin: string
  readonly path: string
  /** Whatever was offered. */
  readonly offers: ReadonlyArray<Offer>
  /** What of it could be paid, and over what. */
  readonly candidates: ReadonlyArray<{ readonly offer: Offer; readonly rail: { readonly name: string } }>
}

/**
 * Warns, with what the policy's list of payees and the ledger know.
 *
 * **Details**
 *
 * A payee is known if it is on the list of allowed payees, or if this agent paid it at the same origin and the money moved:
 * another origin's word for it is none. Of those who get parts the ledger does not know. Where it cannot be read, nobody is
 * known by it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  ledger: Pick<Ledger["Service"], "purchases">,
  policy: Pick<Policy.Policy["Service"], "vouches">
) => {
  const paid = ({ agent, origin }: Subject) =>
    ledger.purchases({ agent, origin, state: ["settled"], limit: remembered }).pipe(
      Effect.map((purchases) =>
        purchases.flatMap(({ authorizations }) =>
          authorizations.filter(({ state }) => state === "settled").map(({ plan }) => plan.payee)
        )
      ),
      Effect.orElseSucceed((): ReadonlyArray<string> => [])
    )

  /** Where there is no chain, a merchant may have no name. */
  const isStrange = (payee: string) => payee !== "" && !policy.vouches(payee)

  return Effect.fnUntraced(function*(subject: Subject) {
    const { candidates, offers, origin, path } = subject
    const odd = offers.flatMap((offer) => Policy.warnings(offer, origin + path))
    const before = candidates.some(({ offer }) => isStrange(offer.payee)) ? yield* paid(subject) : []
    const strange = candidates.flatMap(({ offer: { alsoPays = [], payee }, rail }) => [
      ...(isStrange(payee) && !before.some((known) => Policy.isSamePayee(known, payee))
        ? [
          `the payee over ${rail.name} is unknown: no list of allowed payees names it, and this agent has lately paid ` +
          `${before.length === 0 ? "nobody" : "somebody else"} here`
        ]
        : []),
      ...(alsoPays.some(isStrange)
        ? [`not everybody who gets a part of the price over ${rail.name} is on a list of allowed payees`]
        : [])
    ])
    return [...new Set([...odd, ...strange])]
  })
}
