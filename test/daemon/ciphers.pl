# SPDX-License-Identifier: GPL-2.0-or-later
# tls_require_ciphers that is expanded: a daemon looks at it when it starts, as it is for no client in particular, and does not start with one that is
# no good; where TLS is not offered nobody looks.  The same with Exim 4.96.
use strict;
use warnings;

part('ciphers that are expanded' => sub {
    my ($lab) = @_;
    $lab->{panic_ok} = 1;
    my $start = "Exim configuration error:\n  tls_require_ciphers invalid: ";
    for my $row (['${if eq{1}{1}{NONSENSE}}', 'gnutls_priority_init(NONSENSE) failed at offset 0'], ['${if', '(expansion of tls_require_ciphers): failed to expand']) {
        my ($value, $want) = @$row;
        $lab->write_configuration(tls => 'tls_advertise_hosts = *', main => "tls_require_ciphers = $value");
        my $said = $lab->exim('', '-bdf');
        check("no start with $value", $lab->{status} != 0 && index($said, "$start$want") >= 0, $said);
        check('and the panic log says it', index($lab->log('panic'), "$start$want") >= 0, $lab->log('panic'));
    }
    for my $row (['${if ={$received_port}{25}{NORMAL:%COMPAT}{SECURE128}}', '*'], ['${if eq{1}{2}{x}fail}', '*'], ['${if eq{1}{1}{NONSENSE}}', '']) {
        my ($value, $hosts) = @$row;
        $lab->start(tls => "tls_advertise_hosts = $hosts", main => "tls_require_ciphers = $value");
        is("a daemon with $value" . ($hosts ? '' : ' and no TLS'), substr($lab->client->{greeting}, 0, 3), '220');
        $lab->stop;
    }
});
1;
