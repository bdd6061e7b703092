"""Class prior: new classes as draws from the distribution of the old ones (ours).

After cGANTransfer, whose pseudo-classes, scores and residuals become a Gaussian prior of what a
class' offsets are. With o the mean of the N old classes' offsets and P~ [N, D] their deviations
from it, over all scales and shifts together,

    P~ = U diag(s) V',   B = diag(s) V' / sqrt(N),   offsets of class y = o + u + c_y B + r_y.

- The old classes' coordinates c have mean 0, variance 1 and no correlation, so |c|^2 is what their
  Gaussian says of a new class; it is penalised, and so is r, in units of the old deviations' mean
  square. `joint`: one vector c_y for all layers, as an old class has one identity and the layers go
  together. `joint=False` takes the layers' priors apart.
- u is common to the new classes: what their images have in common and the old ones do not. The
  residuals r add up to 0 over the new classes, exactly, so they hold nothing of it. o and B stay.
- Start: class y is like the old classes in the proportions q_y (`methods.discriminant`), and
  S_y = q_y / |q_y| mixes their deviations without shrinking them: deviations of independent classes
  mixed by q_y alone are |q_y| times as large. The discriminator's class table starts at
  v_y = sum_i q_yi v_i of the source's.
- c, u and r each change the offsets equally fast (`methods.equal_updates`): as the rows of B are
  orthogonal, c's learning rate is the generator's over rho, the RMS of P~.

Each of these is a switch. Convolutions, statistics and old classes are as in cGANTransfer.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec, TransferMethod
from cgt_tf.methods.cgan_transfer import NORM_PARTS
from cgt_tf.methods.class_prior_settings import ClassPriorSettings
from cgt_tf.methods.phases import Adam, Stage, Trained
from cgt_tf.methods.run_networks import Networks

if TYPE_CHECKING:
    from cgt_tf.networks.extended import ExtendedGenerator
    from cgt_tf.networks.gan import Gan

_PARTS = rf"({NORM_PARTS}|class_embedding)"


class ClassPrior(TransferMethod):
    """Adds classes by coordinates of a prior, a common shift and residuals."""

    Settings: ClassVar[type] = ClassPriorSettings

    @property
    def keeps_old_classes(self) -> bool:
        return True

    def build(self, sources: Sequence["Gan"], target: DataSpec) -> Networks:
        from cgt_tf.methods import transfer
        from cgt_tf.methods.whitened_prior import WhitenedPrior
        from cgt_tf.networks.gan import Gan

        (self._source,) = sources
        transfer.check_transfer(self._source, target)
        self._check_class_table()
        spec = transfer.transferred_spec(self._source.spec, len(target.class_names))
        self._prior = WhitenedPrior(self._source, self.settings)
        generator = self._prior.create_generator(spec, self.config)
        discriminator = transfer.transferred_discriminator(self._source, spec, self.config)
        return Networks.of(Gan(spec, generator, discriminator, list(target.class_names)))

    def _check_class_table(self) -> None:
        discriminator, count = self._source.discriminator, self._source.spec.num_classes
        known = discriminator.num_classes if discriminator else 0
        if self.settings.class_table == "similar" and known != count:
            raise InputError(
                f"expected --config.{self.config.method.name}.class_table=random, as the source's "
                f"discriminator knows {known} of its {count} classes, got similar"
            )

    def prepare(self, networks: Networks, images) -> None:
        """Starts the classes, and the discriminator's table of them, at the old ones alike."""
        import numpy as np

        from cgt_tf.methods import discriminant, transfer

        settings = self.settings
        if "similar" not in (settings.start, settings.class_table):
            return
        logs = discriminant.log_similarities(self._source, images, settings.temperature)
        similarities = np.exp(logs)
        if settings.start == "similar":
            self._prior.start(networks.generator, similarities)
        if settings.class_table == "similar":
            transfer.mix_class_table(self._source, networks.discriminator, similarities)

    def stages(self, networks: Networks) -> tuple[Stage, ...]:
        from cgt_tf.methods.adversarial import Adversarial

        adversarial = Adversarial(self.config, terms=self._penalties, power_iteration=False)
        return adversarial.single_stage("propagate", self._trained())

    def _trained(self) -> tuple[Trained, ...]:
        settings, optimizer = self.settings, Adam.of(self.config.generator)
        scale = self._prior.learning_rate_scale if settings.equal_updates else 1.0
        scaled = dataclasses.replace(optimizer, learning_rate=optimizer.learning_rate * scale)
        rest = [f"{_PARTS}/prior/bias"] * settings.common_shift
        rest += [f"{_PARTS}/residual"] * settings.residual
        if self._source.spec.chunk_dim:
            rest.append(f"{NORM_PARTS}/latent/.*")
        found = [Trained("generator", scaled, (f"{_PARTS}/scores/.*",))]
        if rest:
            found.append(Trained("generator", optimizer, tuple(rest)))
        return tuple(found)

    def _penalties(self, p, judged) -> dict:
        del judged
        return self._prior.penalties(p.networks.generator)

    def extended(self, networks: Networks) -> "ExtendedGenerator":
        from cgt_tf.networks.extended import fold_together

        return fold_together(
            [self._source.generator, networks.generator],
            [self._source.class_names, networks.class_names],
        )
